"""Everything that is decided before the first customer arrives.

`Season` is the known rhythm of the shop, `Channel` one way of arriving with its
population of purchase and dropout rates, `Plan` the arguments of one run. All of them go
into `truth/parameters.json`, from which `perennial.posterior` reads them back.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, timedelta

import numpy as np

DAY = 86_400
HOUR = 3_600


@dataclass(frozen=True)
class Season:
    """How busy the shop is: a factor on every customer's rate, constant within an hour.

    season(t) = year(day) * week(weekday) * clock(hour), where
    year = 1 + swing * cos(2 pi (doy - trough - 182.6) / 365.25)
             + sum over peaks of height * exp(-((doy - centre) / width)^2 / 2),
    clock = 1 + clock_swing * cos(2 pi (hour - clock_peak) / 24).
    """

    swing: float = 0.10
    trough: float = 25.0
    peaks: tuple[tuple[float, float, float], ...] = ((0.9, 331.0, 5.0), (0.7, 346.0, 9.0))
    week: tuple[float, ...] = (0.96, 0.92, 0.94, 0.98, 1.02, 1.12, 1.06)
    clock_swing: float = 0.75
    clock_peak: float = 16.0

    def hourly(self, start: date, n_days: int) -> np.ndarray:
        """The factor of each hour from `start` on: shape (n_days * 24,)."""
        days = [start + timedelta(days=k) for k in range(n_days)]
        of_year = np.array([d.timetuple().tm_yday for d in days], dtype=float)
        weekday = np.array([d.weekday() for d in days])
        year = 1 + self.swing * np.cos(2 * np.pi * (of_year - self.trough - 182.6) / 365.25)
        for height, centre, width in self.peaks:
            year += height * np.exp(-0.5 * ((of_year - centre) / width) ** 2)
        clock = 1 + self.clock_swing * np.cos(2 * np.pi * (np.arange(24) - self.clock_peak) / 24)
        daily = year * np.asarray(self.week)[weekday]
        return (daily[:, None] * clock[None, :]).ravel()

    def operational(self, start: date, n_days: int) -> tuple[np.ndarray, np.ndarray]:
        """Calendar and operational time at the hours' edges, both in days from `start`.

        Operational time tau(t) is the integral of season over calendar time. In it a
        customer orders at a constant rate. Shapes (n_days * 24 + 1,); tau is linear
        between the edges.
        """
        factor = self.hourly(start, n_days)
        edges = np.arange(n_days * 24 + 1) / 24
        return edges, np.concatenate([[0.0], np.cumsum(factor) / 24])


FLAT = Season(0.0, 0.0, (), (1.0,) * 7, 0.0, 0.0)


@dataclass(frozen=True)
class Channel:
    """A way of arriving, and who arrives by it.

    Purchase rates (orders per operational day) are Gamma(shape r, rate alpha); dropout
    rates (per calendar day) are Gamma(shape s, rate beta).
    """

    name: str
    share: float
    r: float
    alpha: float
    s: float
    beta: float
    cost: float = 0.0
    referrer: str | None = None
    utm_source: str | None = None
    utm_medium: str | None = None


CHANNELS = (
    Channel("organic", 0.26, 0.72, 50, 0.70, 150, 0.0, "https://search.example/"),
    Channel("direct", 0.16, 0.85, 50, 0.75, 220),
    Channel("paid_search", 0.20, 0.68, 56, 0.80, 95, 14.0, None, "search", "cpc"),
    Channel("paid_social", 0.20, 0.58, 62, 0.90, 65, 11.0, None, "social", "paid_social"),
    Channel("affiliate", 0.08, 0.58, 62, 0.85, 80, 9.0, None, "partner", "affiliate"),
    Channel("referral", 0.10, 0.90, 48, 0.65, 240, 0.0, "https://friends.example/"),
)

# Country, share, currency, language of its customers, tax on top of the prices, regions.
COUNTRIES = (
    ("DE", 0.34, "EUR", "en", 0.19, ("Berlin", "Bayern", "Hamburg", "Hessen")),
    ("FR", 0.14, "EUR", "en", 0.20, ("Bretagne", "Occitanie", "Normandie")),
    ("NL", 0.10, "EUR", "en", 0.21, ("Utrecht", "Zeeland", "Groningen")),
    ("GB", 0.16, "GBP", "en", 0.20, ("England", "Scotland", "Wales")),
    ("US", 0.12, "USD", "en", 0.07, ("Oregon", "Ohio", "Maine", "Texas")),
    ("CN", 0.14, "CNY", "zh", 0.13, ("上海", "浙江", "广东", "四川")),
)

# Currency, first rate in EUR, daily volatility of its logarithm.
CURRENCIES = (("GBP", 1.17, 0.004), ("USD", 0.92, 0.004), ("CNY", 0.128, 0.003))
REPORTING_CURRENCY = "EUR"

TYPES = ("persuadable", "sure_thing", "lost_cause", "sleeping_dog")
N_CLUSTERS = 6


@dataclass(frozen=True)
class Behaviour:
    """The constants of behaviour that are not rates of purchase."""

    never_buy_share: float = 0.10
    guest_share: float = 0.05
    arrival_growth: float = 0.9
    campaigns_per_year: float = 10.0
    campaign_window_days: float = 14.0
    persuaded_probability: float = 0.16
    persuaded_coupon_bonus: float = 0.07
    suppressed_probability: float = 0.6
    pair_probability: float = 0.45
    rival_probability: float = 0.5
    favourite_probability: float = 0.25
    cancelled_share: float = 0.02
    refund_share: float = 0.055
    review_share: float = 0.12
    question_share: float = 0.05
    sale_line_share: float = 0.08
    touched_audience_share: float = 0.75
    shared_device_share: float = 0.015
    late_ingestion_share: float = 0.01


@dataclass(frozen=True)
class Plan:
    """One run of the simulator: its arguments and what follows from them.

    Moments inside the simulator are whole seconds since `start` (int64); `seconds` is the
    exclusive end of the observed window.
    """

    n_customers: int
    seed: int
    until: date
    years: float
    dirt: float = 0.0
    events_per_order: float = 10.0
    chunk_customers: int = 20_000
    season: Season = field(default_factory=Season)
    channels: tuple[Channel, ...] = CHANNELS
    behaviour: Behaviour = field(default_factory=Behaviour)

    @property
    def n_days(self) -> int:
        """Length of the observed window in days."""
        return max(2, round(self.years * 365.25))

    @property
    def start(self) -> date:
        """First day of the observed window."""
        return self.until - timedelta(days=self.n_days)

    @property
    def seconds(self) -> int:
        """Length of the observed window in seconds."""
        return self.n_days * DAY

    @property
    def epoch(self) -> int:
        """The window's start in seconds since 1970, UTC."""
        return int(
            datetime(self.start.year, self.start.month, self.start.day, tzinfo=UTC).timestamp()
        )

    @property
    def n_chunks(self) -> int:
        """How many chunks of customers there are."""
        return math.ceil(self.n_customers / self.chunk_customers)

    def rng(self, chunk: int, stage: int) -> np.random.Generator:
        """A generator of its own for each chunk and stage: order of work cannot matter.

        Chunk 0 is the shop as a whole; customers' chunks count from 1.
        """
        return np.random.Generator(
            np.random.PCG64(np.random.SeedSequence([self.seed, chunk, stage]))
        )

    def as_truth(self) -> dict:
        """What `truth/parameters.json` holds about the population."""
        return {
            "n_customers": self.n_customers,
            "seed": self.seed,
            "start": self.start.isoformat(),
            "until": self.until.isoformat(),
            "years": self.years,
            "dirt": self.dirt,
            "events_per_order": self.events_per_order,
            "chunk_customers": self.chunk_customers,
            "reporting_currency": REPORTING_CURRENCY,
            "season": {
                **asdict(self.season),
                "formula": " ".join((Season.__doc__ or "").split()),
            },
            "channels": [asdict(channel) for channel in self.channels],
            "behaviour": asdict(self.behaviour),
            "customer_types": list(TYPES),
        }
