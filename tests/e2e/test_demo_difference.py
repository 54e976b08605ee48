"""A demo whose halves differ exits 1 and names the customer."""

from __future__ import annotations

import gzip
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import typer

from tallystick.cli import demo
from tallystick.stripe_gateway.readers import InvoiceReader
from tests.fixtures.paths import CATALOG_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tallystick.ports.stripe import Invoice


def test_one_cent_too_much_on_one_invoice_fails_the_demo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:

    (tmp_path / "catalog.yaml").write_text(CATALOG_FILE.read_text("utf-8"), "utf-8")
    line = '{}.example - - [18/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 5000000 "-" "x"\n'
    with gzip.open(tmp_path / "access.log.gz", "wt") as log:
        log.writelines(line.format(name) for name in ("one", "two", "two"))
    honest = InvoiceReader.invoices

    def one_cent_more(reader: InvoiceReader) -> Iterator[Invoice]:
        for number, invoice in enumerate(honest(reader)):
            extra = 1 if number == 0 else 0
            yield replace(invoice, total_minor=invoice.total_minor + extra)

    monkeypatch.setattr(InvoiceReader, "invoices", one_cent_more)
    with pytest.raises(typer.Exit) as left:
        demo.demo(keep=False, example=tmp_path, client=False, database_url=None)
    assert left.value.exit_code == 1
    printed = capsys.readouterr().out
    assert printed.endswith("1 of 2 invoices differ\n")
    assert ".example: we bill " in printed
