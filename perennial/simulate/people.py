"""Who comes: customers with their hidden rates, tastes and types, and passing visitors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from perennial.simulate.catalogue import labels, masked, moments, numbered
from perennial.simulate.parameters import (
    COUNTRIES,
    DAY,
    HOUR,
    N_CLUSTERS,
    TYPES,
    Plan,
)


@dataclass
class People:
    """One chunk of customers, as arrays of shape (n,); moments in seconds since the start.

    `rate` is orders per operational day, `dropout` per calendar day; `born` is the moment
    of arrival (for buyers that of their first order), `died` may lie after the window.
    Devices of customer i are the numbers first_device[i] … first_device[i] + n_devices[i] - 1,
    but the second one may be `second_device[i]`, somebody else's.
    """

    offset: int
    channel: np.ndarray
    country: np.ndarray
    region: np.ndarray
    born: np.ndarray
    died: np.ndarray
    rate: np.ndarray
    dropout: np.ndarray
    buys: np.ndarray
    type: np.ndarray
    cluster: np.ndarray
    leniency: np.ndarray
    engagement: np.ndarray
    birth_year: np.ndarray
    consent: np.ndarray
    app: np.ndarray
    n_devices: np.ndarray
    first_device: np.ndarray
    second_device: np.ndarray

    @property
    def size(self) -> int:
        """Number of customers in the chunk."""
        return len(self.born)

    @property
    def ids(self) -> pl.Series:
        """The customers' ids as text."""
        return numbered("c", self.offset + 1 + np.arange(self.size), 7)


def draw_people(plan: Plan, chunk: int, edges: tuple[np.ndarray, np.ndarray]) -> People:
    """Draw chunk `chunk` (from 1) of the customers.

    `edges` are calendar and operational time as `Season.operational` gives them.
    """
    rng = plan.rng(chunk, 1)
    offset = (chunk - 1) * plan.chunk_customers
    n = min(plan.chunk_customers, plan.n_customers - offset)
    channels = plan.channels
    share = np.cumsum([channel.share for channel in channels])
    channel = np.minimum(np.searchsorted(share, rng.random(n), side="right"), len(share) - 1)
    r, alpha, s, beta = (
        np.array([getattr(item, name) for item in channels])[channel]
        for name in ("r", "alpha", "s", "beta")
    )
    rate = rng.gamma(r) / alpha
    dropout = rng.gamma(s) / beta

    # Arrivals follow the season, and the shop grows from year to year.
    calendar, operational = edges
    weight = np.diff(operational) * (
        1 + plan.behaviour.arrival_growth * calendar[:-1] / plan.n_days
    )
    total = np.concatenate([[0.0], np.cumsum(weight)])
    arrived = np.interp(rng.random(n) * total[-1], total, calendar)
    born = np.clip((arrived * DAY).astype(np.int64), 2 * HOUR, plan.seconds - 3 * HOUR)
    died = born + np.minimum(rng.exponential(size=n) / dropout, 1e5) * DAY
    buys = rng.random(n) >= plan.behaviour.never_buy_share

    shares = np.cumsum([row[1] for row in COUNTRIES])
    country = np.minimum(
        np.searchsorted(shares, rng.random(n) * shares[-1], side="right"), len(shares) - 1
    )
    n_regions = np.array([len(row[5]) for row in COUNTRIES])
    region = (rng.random(n) * n_regions[country]).astype(int)
    birth_year = np.clip(np.round(rng.normal(1985, 12, n)), 1935, 2005).astype(int)

    # What a campaign does to somebody goes with age, channel and how keen they are, so
    # that it can be learnt; most of it stays chance.
    paid = np.array([item.cost > 0 for item in channels])[channel]
    keen = np.clip(np.log(np.maximum(rate, 1e-9) * 70), -3, 2)
    young = (birth_year - 1985) / 12
    scores = np.column_stack(
        [
            0.1 + 0.9 * paid + 0.5 * young,
            0.2 + 0.7 * keen - 0.3 * paid,
            0.4 - 0.3 * keen + 0.1 * paid,
            -1.3 - 0.7 * young - 0.4 * paid,
        ]
    )
    kind = np.argmax(scores + rng.gumbel(size=(n, len(TYPES))), axis=1)

    engagement = rng.gamma(3.0, 1 / 3.0, n)
    cluster = rng.integers(0, N_CLUSTERS, n)
    leniency = rng.normal(0.2, 0.5, n)
    consent = rng.random(n) < 0.82
    app = rng.random(n) < np.clip(0.30 + 0.15 * young, 0.05, 0.8)

    n_devices = 1 + (rng.random(n) < 0.30) + (rng.random(n) < 0.06)
    # Device numbers leave three for each customer, so that chunks cannot collide.
    first_device = 3 * (offset + np.arange(n)) + 1
    second_device = first_device + 1
    shared = np.flatnonzero(rng.random(n) < plan.behaviour.shared_device_share)
    shared = shared[shared + 1 < n]
    n_devices[shared] = np.maximum(n_devices[shared], 2)
    second_device[shared] = first_device[shared + 1]
    return People(
        offset,
        channel,
        country,
        region,
        born,
        died.astype(np.int64),
        rate,
        dropout,
        buys,
        kind,
        cluster,
        leniency,
        engagement,
        birth_year,
        consent,
        app,
        n_devices,
        first_device,
        second_device,
    )


def device_ids(number: np.ndarray) -> pl.Series:
    """Anonymous ids of device numbers; null where the number is negative."""
    number = np.asarray(number, dtype=np.int64)
    # An odd factor modulo a power of two permutes: opaque, unique, and nothing to look up.
    opaque = (number * 2_654_435_761) % (1 << 36)
    ids = numbered("a", opaque, 11)
    return masked(ids, number >= 0) if len(number) and number.min() < 0 else ids


def customer_frames(
    plan: Plan, chunk: int, people: People, created: np.ndarray
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """The raw customers, their truth, and which anonymous id is whose.

    `created` is the moment of each customer's signup in seconds since the start.
    """
    rng = plan.rng(chunk, 2)
    n, ids = people.size, people.ids
    birth = np.datetime64("1970-01-01") + (
        (people.birth_year - 1970) * 365.25 + rng.integers(0, 365, n)
    ).astype("timedelta64[D]")
    gender = rng.integers(0, 20, n)
    regions = [name for row in COUNTRIES for name in row[5]]
    first_region = np.cumsum([0] + [len(row[5]) for row in COUNTRIES])[:-1]
    a, b = rng.integers(0, 1 << 63, n), rng.integers(0, 1 << 63, n)
    raw = pl.DataFrame(
        {
            "customer_id": ids,
            "created_at": moments(plan, created),
            "country": labels([row[0] for row in COUNTRIES], people.country),
            "region": labels(
                regions,
                np.where(rng.random(n) < 0.9, first_region[people.country] + people.region, -1),
            ),
            "birth_date": masked(pl.Series(birth).cast(pl.Date), rng.random(n) < 0.6),
            "gender": labels(
                ("f", "m", "x"),
                np.where(gender < 9, 0, np.where(gender < 16, 1, np.where(gender < 17, 2, -1))),
            ),
            "acquisition_channel": labels([item.name for item in plan.channels], people.channel),
            "email_hash": [
                f"{x:016x}{y:016x}" for x, y in zip(a.tolist(), b.tolist(), strict=True)
            ],
            "marketing_consent": people.consent,
            "ingested_at": ingested(plan, rng, created),
        }
    )
    truth = pl.DataFrame(
        {
            "customer_id": ids,
            "channel": raw["acquisition_channel"],
            "is_buyer": people.buys,
            "lambda": people.rate,
            "mu": people.dropout,
            "born_at": moments(plan, people.born),
            "died_at": moments(plan, people.died),
            "is_alive": people.died >= plan.seconds,
            "type": labels(TYPES, people.type),
            "cluster": people.cluster,
            "leniency": np.round(people.leniency, 4),
            "engagement": np.round(people.engagement, 4),
        }
    )
    n_extra = people.n_devices - 1
    owner = np.repeat(np.arange(n), n_extra)
    which = np.arange(len(owner)) - np.repeat(np.cumsum(n_extra) - n_extra, n_extra)
    device = np.where(which == 0, people.second_device[owner], people.first_device[owner] + 2)
    shared = np.where(which == 0, device != people.first_device[owner] + 1, False)
    owner = np.concatenate([np.arange(n), owner])
    device = np.concatenate([people.first_device, device])
    shared = np.concatenate([np.isin(people.first_device, device[n:][shared]), shared])
    order = np.lexsort((device, owner))
    identities = pl.DataFrame(
        {
            "anonymous_id": device_ids(device[order]),
            "customer_id": ids.gather(owner[order]),
            "is_shared": shared[order],
        }
    )
    return raw, truth, identities


def ingested(plan: Plan, rng: np.random.Generator, occurred: np.ndarray) -> pl.Series:
    """When rows that occurred at these seconds reached the warehouse.

    Minutes to hours later, one in a hundred days later; never after the window's end,
    when the extract was drawn.
    """
    n = len(occurred)
    delay = 60 + rng.exponential(1500.0, n)
    late = rng.random(n) < plan.behaviour.late_ingestion_share
    delay = np.where(late, DAY * (1 + 6 * rng.random(n)), delay).astype(np.int64)
    return moments(plan, np.minimum(occurred + delay, plan.seconds - 1))
