"""The same deliveries received with FastAPI and asyncpg, one insert a request, as their documentation shows it.

It authenticates, parses and stores; it keeps no revisions and redacts nothing but the credentials.
"""

import hashlib
import os
import secrets
import time
import uuid
from contextlib import asynccontextmanager
from typing import Annotated, Literal

import asyncpg
import pydantic_core
from fastapi import Depends, FastAPI, Header, HTTPException, Request
from pydantic import BaseModel, ConfigDict

INSERT = """
    insert into ticket_events (
        id, provider, account, environment, booking_ref, revision, status, pnr, airline_pnrs, passengers,
        ticket_numbers, warnings, payload, content_hash, received_at, last_received_at
    ) values ($1, $2, 'bench', 'live', $3, 1, 'ticketed', $4, $5, $6, $7, '{}', $8, $9, now(), now())
    on conflict do nothing
"""


class Model(BaseModel):
    """Keeps members that are not named."""

    model_config = ConfigDict(extra="allow")


class NameElement(Model):
    FirstName: str
    LastName: str
    DocumentNumber: str | None = None


class PassengerInfo(Model):
    NameElement: NameElement


class TicketInfo(Model):
    PassengerInfo: PassengerInfo
    TicketNumbers: list[str]


class TicketStatusUpdate(Model):
    BookingTransactionRef: str
    PNR: str
    AirlinesPNR: str
    TicketInfoes: list[TicketInfo]


class CallbackPassenger(Model):
    FirstName: str
    LastName: str
    TicketNumber: str | None = None


class BookingCallback(Model):
    ClientId: str
    UserName: str
    Password: str
    BookingId: str
    PNR: str
    Status: Literal["Success"]
    Passengers: list[CallbackPassenger]


class PaxTicketInfo(Model):
    name: str
    cardNum: str | None = None
    airlinePNRs: list[str] = []
    ticketNos: list[str]


class Order(Model):
    orderNo: str
    orderStatus: int
    paxTicketInfos: list[PaxTicketInfo]


class OrderTicketed(Model):
    cid: str
    type: Literal["order.ticketed"]
    data: Order


@asynccontextmanager
async def lifespan(app: FastAPI):
    async with asyncpg.create_pool(os.environ["DATABASE_URL"]) as pool:
        app.state.pool = pool
        yield


app = FastAPI(lifespan=lifespan, openapi_url=None)


def pool_of(request: Request) -> asyncpg.Pool:
    return request.app.state.pool


Pool = Annotated[asyncpg.Pool, Depends(pool_of)]


@app.post("/webhooks/ticket-status-update")
async def ticket_status_update(delivery: TicketStatusUpdate, authorization: Annotated[str, Header()], pool: Pool):
    authenticate({"API_KEY": authorization.removeprefix("Bearer ")}, "TICKET_STATUS_UPDATE")
    passengers = [
        {
            "first_name": info.PassengerInfo.NameElement.FirstName,
            "last_name": info.PassengerInfo.NameElement.LastName,
            "document": {"number": info.PassengerInfo.NameElement.DocumentNumber},
            "tickets": [{"raw": number, "number": number} for number in info.TicketNumbers],
        }
        for info in delivery.TicketInfoes
    ]
    airline_pnrs = [pnr.strip() for pnr in delivery.AirlinesPNR.split(",")]
    payload = delivery.model_dump_json()
    reference = delivery.BookingTransactionRef
    await store(pool, "ticket_status_update", reference, delivery.PNR, airline_pnrs, passengers, payload)
    return {"code": 200, "message": ["success"]}


@app.post("/webhooks/booking-callback")
async def booking_callback(delivery: BookingCallback, pool: Pool):
    presented = {"CLIENT_ID": delivery.ClientId, "USER_NAME": delivery.UserName, "PASSWORD": delivery.Password}
    authenticate(presented, "BOOKING_CALLBACK")
    passengers = [
        {
            "first_name": passenger.FirstName,
            "last_name": passenger.LastName,
            "tickets": [{"raw": passenger.TicketNumber, "number": passenger.TicketNumber.replace("-", "")}]
            if passenger.TicketNumber
            else [],
        }
        for passenger in delivery.Passengers
    ]
    payload = delivery.model_dump_json(exclude={"ClientId", "UserName", "Password"})
    await store(pool, "booking_callback", delivery.BookingId, delivery.PNR, [], passengers, payload)
    return {"Error": {"ErrorCode": 0, "ErrorMessage": ""}}


@app.post("/webhooks/order-ticketed")
async def order_ticketed(delivery: OrderTicketed, pool: Pool):
    authenticate({"CID": delivery.cid}, "ORDER_TICKETED")
    passengers = [
        {
            "first_name": info.name.partition("/")[2],
            "last_name": info.name.partition("/")[0],
            "document": {"number": info.cardNum},
            "tickets": [{"raw": number, "number": number.replace("-", "")} for number in info.ticketNos],
        }
        for info in delivery.data.paxTicketInfos
    ]
    airline_pnrs = sorted({pnr for info in delivery.data.paxTicketInfos for pnr in info.airlinePNRs})
    payload = delivery.model_dump_json(exclude={"cid"})
    await store(pool, "order_ticketed", delivery.data.orderNo, None, airline_pnrs, passengers, payload)
    return {"status": 0, "msg": "success"}


def authenticate(presented: dict[str, str], provider: str) -> None:
    for key, value in presented.items():
        if not secrets.compare_digest(value.encode(), os.environ[f"{provider}_{key}"].encode()):
            raise HTTPException(status_code=401)


async def store(pool, provider, booking_ref, pnr, airline_pnrs, passengers, payload) -> None:
    tickets = [ticket["number"] for passenger in passengers for ticket in passenger["tickets"]]
    content_hash = hashlib.sha256(payload.encode()).digest()
    columns = [booking_ref, pnr, airline_pnrs, to_json(passengers), tickets, payload, content_hash]
    await pool.execute(INSERT, uuid7(), provider, *columns)


def to_json(value) -> str:
    return pydantic_core.to_json(value).decode()


def uuid7() -> uuid.UUID:
    """As the service's: ids that ascend are cheaper to insert."""
    return uuid.UUID(int=time.time_ns() // 1_000_000 << 80 | 7 << 76 | 2 << 62 | secrets.randbits(62))
