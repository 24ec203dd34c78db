"""The teacher's tools: point the course at a fork, serve the built site. `python -m bigmodel_lab.course --help`."""

from bigmodel_lab.course.address import INSTALL_TAGS, disagreements, install_cell, point_at, repository_url
from bigmodel_lab.course.serve import serve

__all__ = ["INSTALL_TAGS", "disagreements", "install_cell", "point_at", "repository_url", "serve"]
