"""What every table is made with."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Integer, MetaData, String

metadata = MetaData()
BigId = BigInteger().with_variant(Integer, "sqlite")
"""SQLite gives row ids to INTEGER PRIMARY KEY only."""


def row_id() -> Column[int]:
    return Column("id", BigId, primary_key=True, autoincrement=True)


def foreign_key(name: str, target: str, *, nullable: bool = False, index: bool = True) -> Column[int]:
    return Column(name, BigId, ForeignKey(target), nullable=nullable, index=index)


def text_column(name: str, *, index: bool = False) -> Column[str]:
    return Column(name, String, nullable=False, server_default="", index=index)
