"""`mien configs`: the configs that come with mien."""

from typing import Annotated

import typer

from mien.cli.options import AsJson, console, print_data, print_json


def configs(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Print this config; save and edit it for one of your own.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the configs that come with mien, or print one."""
    from mien.shipped_configs import find, shipped_configs

    if name:
        print_data(find(name).read_text(encoding="utf-8"))
        return
    shipped = shipped_configs().values()
    if as_json:
        print_json([{"name": each.name, "command": each.command, "purpose": each.purpose} for each in shipped])
        return
    from rich import box
    from rich.table import Table

    table = Table("command", "purpose", box=box.SIMPLE, pad_edge=False)
    table.columns[0].no_wrap = True
    for each in shipped:
        table.add_row(f"mien {each.command} {each.name}", each.purpose)
    console().print(table)
    typer.echo("mien configs NAME prints one; --set replaces any of its values, such as --set data.path=faces")
