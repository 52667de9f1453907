"""Campaigns, coupons, experiments, advertising: what the shop does, and what it moves.

Every campaign draws an audience, treats each of it with a known propensity and holds out
the rest, so that the effect of each can be estimated without bias. A treated persuadable
customer may order once more, a treated sleeping dog may skip orders, nobody else changes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import polars as pl

from perennial.simulate import words
from perennial.simulate.catalogue import labels, moments, numbered
from perennial.simulate.parameters import (
    COUNTRIES,
    CURRENCIES,
    DAY,
    HOUR,
    REPORTING_CURRENCY,
    TYPES,
    Plan,
)
from perennial.simulate.people import People

# Larger than any moment in seconds: (person, moment) becomes one sortable number.
SPAN = 1 << 33

OWN, GUEST, EXPERIMENT = -1, -2, 1_000_000

# Exchange rates begin some days before the window and end on the day after it, so that a
# shop day in any time zone has one.
RATES_LEAD = 7


@dataclass(frozen=True)
class Campaign:
    """A campaign with its audience rule, its propensity formula and perhaps a coupon.

    propensity = logistic(base + recent * [ordered within 60 days] + loyal * [3 orders or
    more] + paid * [came by a paid channel]), kept between 0.15 and 0.90.
    """

    number: int
    name: str
    channel: str
    audience: str
    starts: int
    ends: int
    base: float
    recent: float
    loyal: float
    paid: float
    coupon: int = -1

    @property
    def id(self) -> str:
        """The campaign's id."""
        return f"m{self.number + 1:03d}"


@dataclass(frozen=True)
class Coupon:
    """A code: of a campaign, or public."""

    code: str
    kind: str
    value: float
    min_spend: float | None
    audience: str
    starts: int
    ends: int
    budget: float | None


@dataclass(frozen=True)
class Experiment:
    """An experiment; `effect` is the probability of one more order under treatment."""

    number: int
    name: str
    metric: str
    starts: int
    ends: int
    allocation: float
    effect: float

    @property
    def id(self) -> str:
        """The experiment's id."""
        return f"x{self.number + 1:02d}"


@dataclass
class Shop:
    """What is the same for every chunk: campaigns, coupons, experiments, exchange rates.

    `rates` has shape (currencies, days): units of the reporting currency for one unit,
    the reporting currency itself first; day 0 is `rates_lead` days before the window.
    """

    campaigns: list[Campaign]
    coupons: list[Coupon]
    experiments: list[Experiment]
    rates: np.ndarray
    rates_lead: int = RATES_LEAD
    n_treated: np.ndarray = field(default_factory=lambda: np.zeros(0))
    arrivals: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))

    def rate(self, currency: np.ndarray, when: np.ndarray) -> np.ndarray:
        """The rate of each (currency number, moment)."""
        return self.rates[currency, when // DAY + self.rates_lead]


@dataclass
class Touches:
    """The touches of one chunk, as arrays of one length; -1 where a moment is absent."""

    campaign: np.ndarray
    person: np.ndarray
    sent: np.ndarray
    opened: np.ndarray
    clicked: np.ndarray
    treated: np.ndarray
    propensity: np.ndarray
    effect: np.ndarray
    extra: np.ndarray
    suppressed: np.ndarray


def make_shop(plan: Plan) -> Shop:
    """Plan the campaigns, coupons, experiments and exchange rates of the whole window."""
    rng = plan.rng(0, 2)
    years = plan.n_days / 365.25
    behaviour = plan.behaviour
    n = max(1, round(behaviour.campaigns_per_year * years))
    window = int(behaviour.campaign_window_days * DAY)
    channels = ("email", "email", "push", "email", "sms", "email", "mail", "ads")
    audiences = ("everyone", "active", "everyone", "lapsed")
    campaigns, coupons = [], []
    for k in range(n):
        centre = (k + 0.7) / n * plan.n_days * DAY + rng.uniform(-4, 4) * DAY
        starts = int(np.clip(centre, DAY, plan.seconds - DAY)) // HOUR * HOUR
        coupon = -1
        if rng.random() < 0.6:
            kind = ("percent", "percent", "amount", "free_shipping")[rng.integers(0, 4)]
            value = {
                "percent": float((10, 15, 20)[rng.integers(0, 3)]),
                "amount": float((5, 8, 10)[rng.integers(0, 3)]),
                "free_shipping": 0.0,
            }[kind]
            coupon = len(coupons)
            coupons.append(
                Coupon(
                    f"SAVE{k + 1:03d}",
                    kind,
                    value,
                    (None, 20.0, 30.0)[rng.integers(0, 3)],
                    audiences[k % 4],
                    starts,
                    starts + window,
                    float(rng.integers(5, 50) * 100),
                )
            )
        base, recent, loyal, paid = np.round(
            rng.normal([0.5, 0.5, 0.4, -0.4], [0.3, 0.3, 0.3, 0.3]), 3
        ).tolist()
        campaigns.append(
            Campaign(
                k,
                f"{words.CAMPAIGN_NAMES[k % len(words.CAMPAIGN_NAMES)]} {k + 1}",
                channels[k % len(channels)],
                audiences[k % 4],
                starts,
                starts + window,
                base,
                recent,
                loyal,
                paid,
                coupon,
            )
        )
    for code, value in (("HELLO5", 5.0), ("FREESHIP", 0.0)):
        kind = "amount" if value else "free_shipping"
        coupons.append(Coupon(code, kind, value, 25.0, "public", 0, plan.seconds, None))

    third = plan.seconds // 3 // DAY * DAY
    # Name, metric, start and longest duration in thirds of the window and days, share of
    # customers under treatment, probability of one more order.
    trials = (
        ("Shorter checkout", "orders", 0.5, 90, 0.5, 0.06),
        ("New recommendations", "revenue", 1.33, 60, 0.5, 0.0),
        ("Reminder of the basket", "orders", 2.25, 45, 0.2, 0.08),
    )
    experiments = []
    for k, (name, metric, at, longest, allocation, effect) in enumerate(trials):
        starts = int(at * third) // DAY * DAY
        ends = starts + min(longest * DAY, third // 2)
        experiments.append(Experiment(k, name, metric, starts, ends, allocation, effect))

    days = plan.n_days + RATES_LEAD + 1
    rates = [np.ones(days)]
    for _, first, volatility in CURRENCIES:
        # Drawn back to its start, so that ten years do not carry it off.
        level, path = 0.0, np.empty(days)
        for k, shock in enumerate(rng.normal(0, volatility, days)):
            level = 0.995 * level + shock
            path[k] = level
        rates.append(np.round(first * np.exp(path), 6))
    return Shop(
        campaigns,
        coupons,
        experiments,
        np.array(rates),
        RATES_LEAD,
        np.zeros(n),
        np.zeros((len(plan.channels), plan.n_days)),
    )


def run_campaigns(
    plan: Plan, chunk: int, shop: Shop, people: People, person: np.ndarray, when: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, Touches, pl.DataFrame]:
    """Play the experiments and campaigns over a chunk's own orders.

    Takes the customers' own orders (`person`, `when` in seconds) and returns all orders as
    (person, when, cause), sorted by person and moment, with the touches and the raw
    experiment assignments. `cause` is OWN, a campaign's number, or EXPERIMENT + its number.
    """
    rng = plan.rng(chunk, 4)
    n = people.size
    keys = np.sort(person * SPAN + when)
    causes = np.full(len(keys), OWN)
    window = int(plan.behaviour.campaign_window_days * DAY)
    paid = np.array([item.cost > 0 for item in plan.channels])[people.channel]

    assigned = []
    for experiment in shop.experiments:
        at = np.maximum(experiment.starts, people.born + 2 * HOUR)
        at = at + (rng.random(n) * 2 * DAY).astype(np.int64)
        into = (at < experiment.ends) & (at < people.died) & (at < plan.seconds)
        treated = rng.random(n) < experiment.allocation
        moved = into & treated & people.buys & (rng.random(n) < experiment.effect)
        then = at + 60 + (rng.random(n) * 20 * DAY).astype(np.int64)
        moved &= then < np.minimum(people.died, plan.seconds)
        keys, causes = _insert(
            keys, causes, np.flatnonzero(moved), then, EXPERIMENT + experiment.number
        )
        who = np.flatnonzero(into)
        assigned.append(
            pl.DataFrame(
                {
                    "experiment_id": pl.Series([experiment.id]).gather(np.zeros(len(who), int)),
                    "customer_id": people.ids.gather(who),
                    "variant": labels(("control", "treatment"), treated[who].astype(int)),
                    "assigned_at": moments(plan, at[who]),
                }
            )
        )

    parts: list[tuple[np.ndarray, ...]] = []
    for campaign in shop.campaigns:
        chosen = rng.random(n) < plan.behaviour.touched_audience_share
        uniform, send_draw, extra_draw, extra_when = rng.random((4, n))
        open_draw, open_delay, click_draw, click_delay = rng.random((4, n))
        everyone = np.arange(n)
        first = np.searchsorted(keys, everyone * SPAN)
        before = np.searchsorted(keys, everyone * SPAN + campaign.starts)
        n_before = before - first
        last = np.where(
            n_before > 0,
            keys[np.maximum(before - 1, 0)] - everyone * SPAN if len(keys) else 0,
            -SPAN,
        )
        since = campaign.starts - last
        known = people.born + 2 * HOUR < campaign.starts
        audience = {
            "everyone": known,
            "active": known & (since < 150 * DAY),
            "lapsed": known & (since >= 90 * DAY),
        }[campaign.audience]
        who = np.flatnonzero(chosen & audience & people.consent)
        score = (
            campaign.base
            + campaign.recent * (since[who] < 60 * DAY)
            + campaign.loyal * (n_before[who] >= 3)
            + campaign.paid * paid[who]
        )
        propensity = np.round(np.clip(1 / (1 + np.exp(-score)), 0.15, 0.90), 4)
        treated = uniform[who] < propensity
        sent = campaign.starts + (send_draw[who] * 6 * HOUR).astype(np.int64)
        alive = (people.died[who] > sent) & people.buys[who]

        chance = plan.behaviour.persuaded_probability + (
            plan.behaviour.persuaded_coupon_bonus if campaign.coupon >= 0 else 0.0
        )
        kind = people.type[who]
        effect = np.where((kind == 0) & alive, chance, 0.0)
        then = sent + 600 + (extra_when[who] ** 2 * (window - 600)).astype(np.int64)
        extra = treated & (extra_draw[who] < effect)
        extra &= then < np.minimum(people.died[who], plan.seconds)

        suppressed = np.zeros(len(who), dtype=np.int64)
        dogs = np.flatnonzero(treated & (kind == TYPES.index("sleeping_dog")))
        low = np.searchsorted(keys, who[dogs] * SPAN + sent[dogs])
        count = np.searchsorted(keys, who[dogs] * SPAN + sent[dogs] + window) - low
        at = np.repeat(low, count) + _within(count)
        gone = rng.random(len(at)) < plan.behaviour.suppressed_probability
        np.add.at(suppressed, np.repeat(dogs, count)[gone], 1)
        keep = np.ones(len(keys), dtype=bool)
        keep[at[gone]] = False
        keys, causes = keys[keep], causes[keep]
        spread = np.zeros(n, dtype=np.int64)
        spread[who] = then
        keys, causes = _insert(keys, causes, who[extra], spread, campaign.number)

        readable = treated & (campaign.channel in ("email", "push"))
        eager = np.where(alive, np.clip(0.20 + 0.14 * people.engagement[who], 0, 0.8), 0.07)
        opened = readable & ((open_draw[who] < eager) | extra)
        open_at = sent + 60 + (-np.log1p(-open_delay[who] * 0.999) * 5 * HOUR).astype(np.int64)
        # Who was moved to an order has read the message before.
        open_at = np.where(extra, np.minimum(open_at, np.maximum(sent + 1, then - 300)), open_at)
        opened &= open_at < plan.seconds
        clicked = opened & ((click_draw[who] < np.where(alive, 0.22, 0.05)) | extra)
        click_at = open_at + 5 + (click_delay[who] * 90).astype(np.int64)
        clicked &= click_at < plan.seconds
        shop.n_treated[campaign.number] += treated.sum()
        parts.append(
            (
                np.full(len(who), campaign.number),
                who,
                sent,
                np.where(opened, open_at, -1),
                np.where(clicked, click_at, -1),
                treated,
                propensity,
                np.round(effect, 4),
                extra.astype(np.int64),
                suppressed,
            )
        )
    touches = Touches(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    return keys // SPAN, keys % SPAN, causes, touches, pl.concat(assigned)


def _insert(
    keys: np.ndarray, causes: np.ndarray, who: np.ndarray, then: np.ndarray, cause: int
) -> tuple[np.ndarray, np.ndarray]:
    """Add one order for each of `who` at `then[who]`, keeping the keys sorted."""
    new = who * SPAN + then[who]
    joined = np.concatenate([keys, new])
    order = np.argsort(joined, kind="stable")
    return joined[order], np.concatenate([causes, np.full(len(who), cause)])[order]


def _within(count: np.ndarray) -> np.ndarray:
    """0, 1, …, count[0] - 1, 0, 1, …, count[1] - 1, …"""
    return np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)


def cause_labels(shop: Shop, cause: np.ndarray) -> pl.Series:
    """The causes of orders as text: own, guest, campaign:<id>, experiment:<id>."""
    names = ["guest", "own"] + [f"campaign:{item.id}" for item in shop.campaigns]
    names += [f"experiment:{item.id}" for item in shop.experiments]
    index = np.where(cause >= EXPERIMENT, cause - EXPERIMENT + 2 + len(shop.campaigns), cause + 2)
    return labels(names, index)


def touch_frames(
    plan: Plan, shop: Shop, people: People, touches: Touches, offset: int
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The raw campaign touches, ids from `offset` on, and their truth."""
    ids = numbered("t", offset + 1 + np.arange(len(touches.person)), 8)
    raw = pl.DataFrame(
        {
            "touch_id": ids,
            "campaign_id": labels([item.id for item in shop.campaigns], touches.campaign),
            "customer_id": people.ids.gather(touches.person),
            "sent_at": moments(plan, touches.sent),
            "opened_at": moments(plan, touches.opened, touches.opened >= 0),
            "clicked_at": moments(plan, touches.clicked, touches.clicked >= 0),
            "is_holdout": ~touches.treated,
            "propensity": touches.propensity,
        }
    )
    truth = pl.DataFrame(
        {
            "touch_id": ids,
            "campaign_id": raw["campaign_id"],
            "customer_id": raw["customer_id"],
            "type": labels(TYPES, people.type[touches.person]),
            "extra_order_probability": touches.effect,
            "n_extra_orders": touches.extra,
            "n_suppressed_orders": touches.suppressed,
        }
    )
    return raw, truth


def shop_frames(plan: Plan, shop: Shop) -> dict[str, pl.DataFrame]:
    """The raw tables that belong to the shop as a whole, once all chunks are done."""
    rng = plan.rng(0, 3)
    unit = {"email": 0.01, "push": 0.002, "sms": 0.07, "mail": 0.85, "ads": 0.30}
    campaigns = shop.campaigns
    cost = [
        round(40 + unit[item.channel] * float(n), 2)
        for item, n in zip(campaigns, shop.n_treated, strict=True)
    ]
    coupons = shop.coupons
    start = np.datetime64(plan.start)
    days = start + np.arange(plan.n_days)
    paid = [k for k, item in enumerate(plan.channels) if item.cost > 0]
    spend = []
    for k in paid:
        channel = plan.channels[k]
        # Money is spent some days before it brings somebody, and some of it for nothing.
        drawn = np.convolve(shop.arrivals[k], [0.2, 0.3, 0.3, 0.2])[: plan.n_days]
        typical = shop.arrivals[k].mean()
        cost_of_day = (
            (0.7 * drawn + 0.3 * typical) * channel.cost * rng.uniform(0.85, 1.15, plan.n_days)
        )
        clicks = rng.poisson(cost_of_day / 0.45)
        spend.append(
            pl.DataFrame(
                {
                    "spend_date": pl.Series(days).cast(pl.Date),
                    "channel": [channel.name] * plan.n_days,
                    "cost": np.round(cost_of_day, 2),
                    "impressions": clicks * rng.integers(35, 70, plan.n_days),
                    "clicks": clicks,
                    "currency": [REPORTING_CURRENCY] * plan.n_days,
                }
            )
        )
    n_rates = shop.rates.shape[1]
    rate_days = pl.Series(start - shop.rates_lead + np.arange(n_rates)).cast(pl.Date)
    rates = [
        pl.DataFrame({"rate_date": rate_days, "currency": [name] * n_rates, "rate": path})
        for (name, _, _), path in zip(CURRENCIES, shop.rates[1:], strict=True)
    ]
    experiments = shop.experiments
    return {
        "campaigns": pl.DataFrame(
            {
                "campaign_id": [item.id for item in campaigns],
                "name": [item.name for item in campaigns],
                "channel": [item.channel for item in campaigns],
                "starts_at": moments(plan, np.array([item.starts for item in campaigns])),
                "ends_at": moments(plan, np.array([item.ends for item in campaigns])),
                "cost": cost,
            }
        ),
        "coupons": pl.DataFrame(
            {
                "coupon_code": [item.code for item in coupons],
                "kind": [item.kind for item in coupons],
                "value": [item.value for item in coupons],
                "min_spend": [item.min_spend for item in coupons],
                "audience": [item.audience for item in coupons],
                "starts_at": moments(plan, np.array([item.starts for item in coupons])),
                "ends_at": moments(plan, np.array([item.ends for item in coupons])),
                "budget": [item.budget for item in coupons],
            }
        ),
        "experiments": pl.DataFrame(
            {
                "experiment_id": [item.id for item in experiments],
                "name": [item.name for item in experiments],
                "metric": [item.metric for item in experiments],
                "starts_at": moments(plan, np.array([item.starts for item in experiments])),
                "ends_at": moments(plan, np.array([item.ends for item in experiments])),
                "allocation": [item.allocation for item in experiments],
            }
        ),
        "ad_spend": pl.concat(spend),
        "exchange_rates": pl.concat(rates),
    }


CURRENCY_OF_COUNTRY = np.array(
    [[REPORTING_CURRENCY, *(name for name, _, _ in CURRENCIES)].index(row[2]) for row in COUNTRIES]
)
CURRENCY_NAMES = [REPORTING_CURRENCY, *(name for name, _, _ in CURRENCIES)]
