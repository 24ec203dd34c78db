"""The methods: each takes `(forward, inputs, target, baseline)` and returns one `Explanation`."""
