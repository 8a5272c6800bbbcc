"""What all tables are written with, the store's and the service's: names, types and columns."""

from enum import StrEnum
from functools import partial
from typing import Any

from sqlalchemy import BigInteger, Column, DateTime, Enum, Identity, Numeric, Uuid, func, text

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
SHA256 = "'^[0-9a-f]{64}$'"

INSTANT = DateTime(timezone=True)
MONEY = Numeric(18, 4)
RATIO = Numeric(18, 8)

required = partial(Column, nullable=False)


def enum_type(members: type[StrEnum], name: str) -> Enum:
    """Return the type `name`, which stores a member's value instead of its Python name."""
    return Enum(members, name=name, values_callable=lambda enum: [member.value for member in enum])


def big_id() -> Column[Any]:
    """Return an `id` that counts the rows."""
    return Column("id", BigInteger, Identity(always=True), primary_key=True)


def uuid_id() -> Column[Any]:
    """Return an `id` that the database draws where none is given."""
    return Column("id", Uuid, primary_key=True, server_default=text("gen_random_uuid()"))


def written(name: str) -> Column[Any]:
    """Return the instant at which the database wrote the row."""
    return required(name, INSTANT, server_default=func.now())
