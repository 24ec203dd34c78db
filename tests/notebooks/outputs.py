"""From a kernel's messages to a cell's outputs, in the order in which they came.

nbval merges all text of a cell into one block, which moves figures; a page must show them where they were drawn.
"""

import re

import nbformat
from nbformat.v4 import output_from_msg

SHOWN = ("stream", "display_data", "execute_result", "error")
WIDGET = "application/vnd.jupyter.widget-view+json"  # a live widget is nothing on a page
PROGRESS = re.compile(r"\d+%\|.*\| *\S+/\S+ \[|\d+it \[\d")


def outputs_of(messages: list[dict], count: int) -> list[nbformat.NotebookNode]:
    """The outputs that one execution left on the screen, numbered `count`."""
    own = messages[-1]["parent_header"].get("msg_id")
    outputs: list[nbformat.NotebookNode] = []
    shown: dict[str, nbformat.NotebookNode] = {}  # by display_id
    clear_next = False
    for message in (m for m in messages if m["parent_header"].get("msg_id") == own):
        kind, content = message["msg_type"], message["content"]
        if kind == "clear_output":
            clear_next = True
            if not content.get("wait"):
                outputs, shown, clear_next = [], {}, False
        elif kind == "update_display_data":
            target = shown.get(content.get("transient", {}).get("display_id"))
            if target is not None:
                target.data, target.metadata = content["data"], content["metadata"]
        elif kind in SHOWN:
            if clear_next:
                outputs, shown, clear_next = [], {}, False
            output = output_from_msg(message)
            if "execution_count" in output:
                output.execution_count = count
            if display_id := content.get("transient", {}).get("display_id"):
                shown[display_id] = output
            outputs.append(output)
    return _tidy(outputs)


def _tidy(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """Neighbouring text of one stream joined, progress bars and live widgets dropped."""
    kept: list[nbformat.NotebookNode] = []
    for output in _join(outputs):
        if output.output_type == "stream":
            output.text = _settled(output.text)
            if not output.text.strip():
                continue
        elif WIDGET in output.get("data", {}):
            continue
        kept.append(output)
    return _join(kept)


def _join(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    joined: list[nbformat.NotebookNode] = []
    for output in outputs:
        last = joined[-1] if joined else {}
        if output.output_type == "stream" == last.get("output_type") and output.name == last.name:
            last.text += output.text
        else:
            joined.append(output)
    return joined


def _settled(text: str) -> str:
    """What a terminal would show in the end: a carriage return overwrites its line, and finished bars go."""
    lines = text.split("\n")
    settled = [re.sub(r"^.*\r(?=.)", "", line.rstrip("\r")) for line in lines]
    return "\n".join(line for line in settled if not PROGRESS.search(line))
