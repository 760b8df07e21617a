"""What there is to configure: stages, measures, a first config."""

from __future__ import annotations

import click

from .common import one_clear_message


@click.command()
@one_clear_message
def init() -> None:
    """Print a commented config, made from the stages themselves."""
    from ..config import init_config

    click.echo(init_config(), nl=False)


@click.command()
@click.argument("name", required=False)
@click.option("--markdown", is_flag=True, help="Print the reference page of all stages.")
@click.option("--stub", is_flag=True, help="Print the type stub of the stage classes.")
@one_clear_message
def stages(name: str | None, markdown: bool, stub: bool) -> None:
    """List the stages, or the parameters of the stage NAME."""
    from .. import _core
    from ..reference import class_name, parameter_line, stages_markdown, stages_stub, toml_value

    if markdown or stub:
        click.echo(stages_markdown() if markdown else stages_stub(), nl=False)
        return

    schema = {stage["name"]: stage for stage in _core.schema()}
    if name is None:
        for stage in schema.values():
            click.echo(f"{stage['name']:<20} {stage['doc']}")
        return
    if name not in schema:
        nearest = _core.nearest_name(name, list(schema))
        hint = f'did you mean "{nearest}"?' if nearest else "known: " + ", ".join(schema)
        raise _core.ConfigError(f'no stage "{name}"; {hint}')
    click.echo(f"{name} (in Python: skipstream.{class_name(name)})\n{schema[name]['doc']}")
    for parameter in schema[name]["parameters"]:
        default = toml_value(parameter["default"])
        click.echo(f"\n  {parameter['name']}" + (f" = {default}" if default else ""))
        if facts := parameter_line(parameter):
            click.echo(f"      {facts}")
        click.echo(click.wrap_text(parameter["doc"], 90, "      ", "      "))


@click.command()
@click.argument("name", required=False)
@click.option("--markdown", is_flag=True, help="Print the reference page of all measures.")
@one_clear_message
def measures(name: str | None, markdown: bool) -> None:
    """List what runs can measure, or the parameters of the measure NAME."""
    from .. import _core
    from ..measuring import MEASURES, described, measures_markdown
    from ..reference import unknown_name

    if markdown:
        click.echo(measures_markdown(), nl=False)
    elif name is None:
        for kind in MEASURES:
            click.echo(f"{kind:<24} {described(kind)[0]}")
    elif name not in MEASURES:
        raise _core.ConfigError(f"no measure {unknown_name(name, list(MEASURES))}")
    else:
        doc, parameters = described(name)
        click.echo(f"{name}\n{doc}")
        for parameter, default, kind, meaning in parameters:
            click.echo(f"\n  {parameter}" + (f" = {default}" if default else ""))
            click.echo(f"      {kind}")
            click.echo(click.wrap_text(meaning, 90, "      ", "      "))
