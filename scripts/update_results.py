#!/usr/bin/env python3
"""Puts the tables and figures that recipes make into pages of docs/.

usage: scripts/update_results.py BIN_DIR           runs the recipes, rewrites the pages
       scripts/update_results.py BIN_DIR --check   says what would change; exit code 1 if anything

A page belongs to the first recipe that it runs ("lowbank run configs/recipes/NAME.json"). Between the
lines <!-- TABLE --> and <!-- end --> stands TABLE.md of the recipe's report; of its figures those lie
beside the page, as SVG, that the page shows.
"""
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent
PAGES = [SOURCE / "docs" / "corrections.md", *sorted((SOURCE / "docs" / "results").glob("*.md"))]


def made_by_recipe(bin_dir, name, folder):
    """The report folder of a recipe, run in `folder`."""
    for part in ("configs", "data"):
        if not (folder / part).exists():
            (folder / part).symlink_to(SOURCE / part)
    env = dict(os.environ, PATH=f"{bin_dir}{os.pathsep}{os.environ['PATH']}",
               LOWBANK_HOME=str(SOURCE))
    subprocess.run([str(bin_dir / "lowbank"), "run", f"configs/recipes/{name}.json", "--quiet"],
                   cwd=folder, env=env, check=True, stdout=subprocess.DEVNULL)
    return folder / "runs" / name / "report"


def contents(page, report):
    """{file: text} of a page and of the figures it shows, as they should be."""
    def table(match):
        return f"{match[1]}\n{(report / match[2]).with_suffix('.md').read_text()}{match[3]}"

    text = re.sub(r"(<!-- (table_\w+) -->)\n.*?(<!-- end -->)", table, page.read_text(),
                  flags=re.S)
    figures = re.findall(r"\]\((fig_\w+\.svg)\)", text)
    return {page: text, **{page.parent / name: (report / name).read_text() for name in figures}}


def main():
    bin_dir = Path(sys.argv[1]).resolve()
    is_check = "--check" in sys.argv[2:]
    stale = []
    with tempfile.TemporaryDirectory(prefix="lowbank_results_") as folder:
        for page in PAGES:
            recipe = re.search(r"lowbank run configs/recipes/(\w+)\.json", page.read_text())[1]
            report = made_by_recipe(bin_dir, recipe, Path(folder))
            for file, text in contents(page, report).items():
                if file.exists() and file.read_text() == text:
                    continue
                stale.append(str(file.relative_to(SOURCE)))
                if not is_check:
                    file.write_text(text)
    for file in stale:
        print(f"{file}: {'is not what its recipe makes' if is_check else 'written'}")
    return 1 if is_check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
