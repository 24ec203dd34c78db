// What a training run takes. `estimate` and the formats are pure; `start` connects them to a form in the page.
// The numbers of GPUs and models come from bigmodel_lab.cost as JSON; a test compares both sides.
var labCost = (() => {
  const estimate = (i) => {
    const operations = 6 * i.active * i.tokens;
    const seconds = operations / (i.gpus * i.peak * i.utilisation);
    const gpuHours = (i.gpus * seconds) / 3600;
    const kwh = ((gpuHours * i.watts) / 1000) * i.pue;
    const bytes = 16 * i.parameters;
    return {
      operations, seconds, gpuHours, kwh, bytes,
      money: gpuHours * i.price,
      co2: kwh * i.carbon,
      leastGpus: Math.ceil(bytes / i.memory),
    };
  };

  const number = (x) => {
    const y = Number(x.toPrecision(3));
    if (y && (y >= 1e9 || y < 1e-3)) {
      const [head, power] = y.toExponential().split("e");
      const raised = String(Number(power)).replace(/./g, (c) => "⁰¹²³⁴⁵⁶⁷⁸⁹⁻"["0123456789-".indexOf(c)]);
      return `${head} × 10${raised}`;
    }
    const [whole, part] = String(y).split(".");
    return whole.replace(/\B(?=(\d{3})+$)/g, ",") + (part ? "." + part : "");
  };
  const scaled = (x, steps) => {
    const [size, unit] = steps.find(([size]) => x >= size) || steps[steps.length - 1];
    return `${number(x / size)} ${unit}`;
  };
  const SECOND = [[365.25 * 86400, "years"], [86400, "days"], [3600, "hours"], [60, "minutes"], [1, "seconds"]];
  const format = {
    seconds: (x) => scaled(x, SECOND),
    gpuHours: (x) => `${number(x)}`,
    money: (x) => "$" + scaled(x, [[1e9, "billion"], [1e6, "million"], [1, ""]]).trim(),
    kwh: (x) => scaled(x, [[1e6, "GWh"], [1e3, "MWh"], [1, "kWh"]]),
    co2: (x) => scaled(x, [[1e3, "t"], [1, "kg"]]),
    operations: (x) => number(x),
    bytes: (x) => scaled(x, [[1e12, "TB"], [1e9, "GB"], [1e6, "MB"]]),
    leastGpus: (x) => number(x),
  };

  // what the form shows is in handy units: billions, per cent, TFLOP/s
  const UNITS = { parameters: 1e9, active: 1e9, tokens: 1e9, peak: 1e12, memory: 1e9, utilisation: 0.01 };
  const valid = (name, x) =>
    Number.isFinite(x) &&
    (name === "pue" ? x >= 1 : name === "utilisation" ? x > 0 && x <= 1 : /price|carbon|watts/.test(name) ? x >= 0 : x > 0);

  const start = (root) => {
    const data = JSON.parse(root.querySelector("script[type]").textContent);
    const form = root.querySelector("form");
    const field = (name) => form.elements[name];
    const set = (values) => {
      for (const name in values)
        field(name).value = Number((values[name] / (UNITS[name] || 1)).toPrecision(name === "utilisation" ? 4 : 8));
    };
    const show = () => {
      const inputs = {};
      let fault = "";
      for (const box of form.querySelectorAll("input")) {
        inputs[box.name] = box.value === "" ? NaN : box.value * (UNITS[box.name] || 1);
        const wrong = !valid(box.name, inputs[box.name]) || (box.name === "active" && inputs.active > inputs.parameters);
        box.setAttribute("aria-invalid", wrong);
        if (wrong && !fault) fault = box.labels[0].firstChild.textContent.trim();
      }
      const out = estimate(inputs);
      for (const cell of root.querySelectorAll("[data-out]"))
        cell.textContent = fault ? "–" : format[cell.dataset.out](out[cell.dataset.out]);
      root.querySelector("[role=status]").textContent = fault
        ? `Not a possible value: ${fault}`
        : `${number(inputs.gpus)} GPUs take ${format.seconds(out.seconds)} and ${format.money(out.money)}.`;
    };
    const pick = () => {
      const { machine, ...rest } = data.runs[field("run").value];
      field("machine").value = machine;
      set({ ...data.gpus[machine], ...rest });
      show();
    };
    field("run").addEventListener("change", pick);
    field("machine").addEventListener("change", () => (set(data.gpus[field("machine").value]), show()));
    form.addEventListener("input", (event) => event.target.matches("input") && show());
    form.addEventListener("submit", (event) => event.preventDefault());
    pick();
    for (const part of root.querySelectorAll("[data-live]")) part.hidden = false;
  };
  return { estimate, number, format, valid, start };
})();
