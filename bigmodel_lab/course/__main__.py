"""The command line of the teacher's tools: `python -m bigmodel_lab.course --help`."""

import argparse
import sys
from pathlib import Path

from bigmodel_lab.course import disagreements, point_at, repository_url, serve
from bigmodel_lab.course.commands import add_commands
from bigmodel_lab.errors import LabError


def main(argv: list[str] | None = None) -> int:
    """Run one command; 0 when all is well, 1 when `check` finds something, 2 when the command cannot be done."""
    args = _parser().parse_args(argv)
    try:
        return args.run(args)
    except LabError as error:
        print(f"error:{error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bigmodel_lab.course", description="Tools for those who teach the course."
    )
    parser.add_argument("--root", type=Path, default=Path(), help="the course's folder (default: this one)")
    commands = parser.add_subparsers(required=True, metavar="command")

    point = commands.add_parser(
        "point-at",
        help="make the course name your fork: launch buttons, Colab links, install cells",
        description="Write the address of a fork into _config.yml and into every lesson. Safe to repeat.",
        epilog="example: python -m bigmodel_lab.course point-at https://github.com/your-name/course",
    )
    point.add_argument("url", help="the fork's address, https://github.com/OWNER/NAME")
    point.set_defaults(run=_point_at)

    check = commands.add_parser("check", help="tell whether _config.yml and the lessons name the same repository")
    check.set_defaults(run=_check)

    site = commands.add_parser("serve", help="serve the built site on this machine")
    site.add_argument("--port", type=int, default=8000, help="first port to try (default: 8000)")
    site.add_argument("--folder", type=Path, help="the built site (default: _build/html in the course's folder)")
    site.set_defaults(run=_serve)

    add_commands(commands)
    return parser


def _point_at(args: argparse.Namespace) -> int:
    changed = point_at(args.root, args.url)
    for path in changed:
        print(f"changed {path}")
    print(f"The course names {repository_url(args.root)}; {len(changed)} files changed.")
    if changed:
        print("Commit them and push: Colab opens what is on GitHub.")
    return 0


def _check(args: argparse.Namespace) -> int:
    problems = disagreements(args.root)
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        print(f"try: python -m bigmodel_lab.course point-at {repository_url(args.root)}", file=sys.stderr)
        return 1
    print(f"All lessons name {repository_url(args.root)}.")
    return 0


def _serve(args: argparse.Namespace) -> int:
    serve(args.folder or args.root / "_build" / "html", args.port)
    return 0


if __name__ == "__main__":
    sys.exit(main())
