"""A small domain in the words of eventsource-py, and its connections."""

from __future__ import annotations

from random import Random
from typing import Any
from uuid import UUID, uuid5

from eventsource import DeclarativeAggregate, DomainEvent, create_async_engine, handles, register_event
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncEngine

from journal import digest, microseconds

CATEGORY = "Order"


@register_event
class OrderPlaced(DomainEvent):
    """The first event of a stream."""

    aggregate_type: str = CATEGORY
    customer: str


@register_event
class ItemAdded(DomainEvent):
    """An event with numbers of several kinds and a nested document."""

    aggregate_type: str = CATEGORY
    sku: str
    quantity: int
    price: float
    options: dict[str, Any]


@register_event
class NoteWritten(DomainEvent):
    """An event with text in several scripts, of any length."""

    aggregate_type: str = CATEGORY
    text: str


class OrderState(BaseModel):
    """What an order is, folded from its events."""

    customer: str = ""
    items: dict[str, int] = {}
    total: float = 0.0
    notes: int = 0
    last_note: str = ""


class Order(DeclarativeAggregate[OrderState]):
    """The aggregate of every stream."""

    aggregate_type = CATEGORY

    def _get_initial_state(self) -> OrderState:
        return OrderState()

    @handles(OrderPlaced)
    def _on_placed(self, event: OrderPlaced) -> None:
        self._state = OrderState(customer=event.customer)

    @handles(ItemAdded)
    def _on_item(self, event: ItemAdded) -> None:
        items = dict(self.state.items)
        items[event.sku] = items.get(event.sku, 0) + event.quantity
        total = self.state.total + event.quantity * event.price
        self._state = self.state.model_copy(update={"items": items, "total": total})

    @handles(NoteWritten)
    def _on_note(self, event: NoteWritten) -> None:
        update = {"notes": self.state.notes + 1, "last_note": event.text}
        self._state = self.state.model_copy(update=update)

    def act(self, dice: Random, tenant: UUID, actor: str, count: int) -> None:
        """Decides `count` new events, as a command of a service would."""
        for _ in range(count):
            about: dict[str, Any] = {"tenant_id": tenant, "actor_id": actor}
            about["metadata"] = {"source": "tests", "n": dice.randrange(1 << 40), "none": None}
            if self.version == 0:
                self.create_event(OrderPlaced, customer=f"Zoë {dice.randrange(1000)}", **about)
            elif dice.random() < 0.6:
                self.create_event(
                    ItemAdded,
                    sku=f"sku-{dice.randrange(9)}",
                    quantity=dice.randrange(1, 9),
                    price=dice.choice([0.1, 1e-7, 1e20, 19.99, 3.0]),
                    options={"Größe": dice.choice(["S", "M", "L"]), "tags": ["a", 1, 2.50, True, {}]},
                    **about,
                )
            else:
                text = dice.choice(['plain "quoted" \\ text', "naïve\ttab\nline", "日本語", "🙂 é"])
                self.create_event(NoteWritten, text=text * dice.randrange(1, 20), **about)


def stream_id(tenant: UUID, name: str) -> UUID:
    """The id of a tenant's stream, the same in every process that names it alike."""
    return uuid5(tenant, name)


def new_event(tenant: UUID, stream: UUID, version: int, dice: Random) -> DomainEvent:
    """One event as the library itself would make it, for writers that use plain SQL."""
    about = {"aggregate_id": stream, "aggregate_version": version, "tenant_id": tenant}
    if version == 1:
        return OrderPlaced(customer="Odd", actor_id="odd", **about)
    return NoteWritten(text=f"odd {dice.randrange(1 << 30)}", actor_id="odd", **about)


def event_digest(event: DomainEvent) -> str:
    """The digest of an event before it is written; `checker.row_digest` is the same of its row."""
    return digest(
        {
            "event_type": event.event_type,
            "actor_id": event.actor_id,
            "at": microseconds(event.occurred_at),
            "payload": event.model_dump(mode="json"),
        }
    )


def engine(
    dsn: str, *, isolation: str | None = None, pool: int = 10, timeout: float = 10.0, search_path: str | None = None
) -> AsyncEngine:
    """The library's engine for a PostgreSQL URL, as its documentation makes one."""
    address = dsn.split("://", 1)[1]
    options: dict[str, Any] = {"pool_size": pool, "max_overflow": 0}
    if isolation:
        options["isolation_level"] = isolation.upper().replace("-", " ")
    options["connect_args"] = {"timeout": timeout, "command_timeout": timeout}
    if search_path:
        options["connect_args"]["server_settings"] = {"search_path": search_path}
    return create_async_engine(f"postgresql+asyncpg://{address}", **options)
