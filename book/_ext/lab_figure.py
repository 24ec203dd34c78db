"""`lesson-figure`: a picture that a lesson kept with `runtime.glue`, on another page, with alt text and caption.

myst-nb's own `glue:figure` reads pictures of the same page only, and its `glue` from another page takes no alt text.
"""

from base64 import b64decode
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import directives
from myst_nb.ext.glue.crossref import ReplacePendingGlueReferences, read_glue_cache
from myst_nb.ext.glue.utils import PendingGlueReferenceError, create_pending_glue_ref
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.docutils import SphinxDirective


class LessonFigure(SphinxDirective):
    """The argument is the name given to `runtime.glue`, the content the caption."""

    required_arguments = 1
    has_content = True
    option_spec = {"doc": directives.unchanged_required, "alt": directives.unchanged_required}  # noqa: RUF012 - docutils' way

    def run(self) -> list[nodes.Node]:
        """Return a figure that waits for the lesson's picture."""
        if missing := {"doc", "alt"} - self.options.keys():
            raise self.error(f"lesson-figure: expected the options :doc: and :alt:, got no {' and no '.join(missing)}")
        source, line = self.get_source_info()
        document, key = self.state.document, self.arguments[0]
        try:
            picture = create_pending_glue_ref(document, source, line, self.options["doc"], key)
        except PendingGlueReferenceError as error:
            raise self.error(f"lesson-figure: {error}") from error
        legend = nodes.legend()  # a caption would be numbered
        self.state.nested_parse(self.content, self.content_offset, legend)
        return [nodes.figure("", picture, legend, lesson=(picture.refdoc, key), alt=self.options["alt"])]


class Picture(SphinxPostTransform):
    """Finish the picture once myst-nb has named it: its alt text, and its file, which no cell of the lesson shows."""

    default_priority = ReplacePendingGlueReferences.default_priority + 1

    def run(self, **kwargs) -> None:
        """Look for figures whose picture has arrived."""
        builder = self.app.builder
        for figure in self.document.findall(lambda node: isinstance(node, nodes.figure) and "lesson" in node):
            for image in figure.findall(nodes.image):
                image["alt"] = figure["alt"]
                doc, key = figure["lesson"]
                kept = read_glue_cache(self.env.mystnb_config.output_folder, doc)[key]["data"]
                file = Path(builder.outdir, builder.imagedir, Path(image["uri"]).name)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(b64decode(kept["image/png"]))


def setup(app) -> dict:
    """Register with Sphinx."""
    app.add_directive("lesson-figure", LessonFigure)
    app.add_post_transform(Picture)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
