"""The JSON schema of cost tables: ``python -m synth.costs.schema [-o FILE]``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from hw.cli.command import command_app, complain
from hw.files import write_text
from synth.table import CostTable

COMMITTED = Path(__file__).parents[2] / "docs" / "cost-table.schema.json"


def schema_text() -> str:
    """Return the schema, made from the records, as JSON text."""
    schema = CostTable.model_json_schema(by_alias=True)
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return json.dumps(dialect | schema, indent=1) + "\n"


def main(
    output: Annotated[Path, typer.Option("--output", "-o", help="JSON file to write.")] = COMMITTED,
) -> None:
    """Write the schema."""
    try:
        write_text(output, schema_text())
    except OSError as error:
        complain(f"synth.costs.schema: {error}")
        raise typer.Exit(2) from None
    typer.echo(f"{output}")


app = command_app(main, name="synth.costs.schema")

if __name__ == "__main__":
    app()
