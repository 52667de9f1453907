"""What customers say: reviews that agree with their stars, and questions with answers."""

from __future__ import annotations

import numpy as np
import polars as pl

from perennial.simulate import words
from perennial.simulate.catalogue import Catalogue, labels, masked, moments, numbered
from perennial.simulate.orders import Orders
from perennial.simulate.parameters import COUNTRIES, DAY, HOUR, Plan
from perennial.simulate.people import People, ingested

LANGUAGES = ("en", "zh")


class Pool:
    """Texts of several groups in one list, to draw from by group and uniform number."""

    def __init__(self, groups: list[tuple[str, ...]]) -> None:
        self.texts = pl.Series([text for group in groups for text in group], dtype=pl.String)
        self.sizes = np.array([len(group) for group in groups])
        self.first = np.cumsum(self.sizes) - self.sizes

    def draw(self, group: np.ndarray, uniform: np.ndarray) -> pl.Series:
        """One text for each group number."""
        return labels(self.texts, self.first[group] + (uniform * self.sizes[group]).astype(int))


def filled(text: pl.Series, mark: str, word: pl.Series) -> pl.Series:
    """The texts with `mark` replaced by the word of the same row."""
    frame = pl.DataFrame({"text": text, "word": word})
    parts = pl.col("text").str.splitn(mark, 2)
    return frame.select(
        pl.when(pl.col("text").str.contains(mark, literal=True))
        .then(parts.struct.field("field_0") + pl.col("word") + parts.struct.field("field_1"))
        .otherwise(pl.col("text"))
    ).to_series()


def review_frames(
    plan: Plan, chunk: int, catalogue: Catalogue, people: People, orders: Orders, offset: int
) -> tuple[pl.DataFrame, pl.DataFrame, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """The raw reviews, their truth, and (person, product, moment) of the signed ones."""
    rng = plan.rng(chunk, 11)
    owner = orders.person[orders.line_order]
    chosen = rng.random(len(owner)) < plan.behaviour.review_share
    chosen &= (owner >= 0) & (orders.status[orders.line_order] != 4)
    at = orders.when[orders.line_order] + (3 * DAY + rng.exponential(8 * DAY, len(owner))).astype(
        np.int64
    )
    chosen &= at < plan.seconds
    line = np.flatnonzero(chosen)
    n = len(line)
    at, person, product = at[line], owner[line], orders.product[line]
    felt = 3.75 + 0.75 * (catalogue.quality[product] - 0.55) + (people.leniency[person] - 0.2)
    rating = np.clip(np.round(felt + rng.normal(0, 0.8, n)), 1, 5).astype(int)
    band = np.where(rating <= 2, 0, np.where(rating == 3, 1, 2))
    chinese = np.array([row[3] == "zh" for row in COUNTRIES])[people.country[person]]
    chinese = np.where(chinese, rng.random(n) < 0.95, rng.random(n) < 0.02).astype(int)

    group = chinese * 3 + band
    titles = Pool([words.TITLES[language][k] for language in LANGUAGES for k in range(3)])
    openings = Pool([words.OPENINGS[language][k] for language in LANGUAGES for k in range(3)])
    remarks = Pool(
        [
            (words.REMARKS[language][aspect][k],)
            for language in LANGUAGES
            for aspect in words.ASPECTS
            for k in range(3)
        ]
    )
    n_aspects = len(words.ASPECTS)
    aspect = rng.integers(0, n_aspects, n)
    other = (aspect + rng.integers(1, n_aspects, n)) % n_aspects
    # A mixed review praises one thing and blames another, or is lukewarm about one.
    divided = (band == 1) & (rng.random(n) < 0.5)
    two = divided | (rng.random(n) < 0.3)
    mood = np.where(divided, 0, band)
    other_mood = np.where(divided, 2, band)
    zero = np.zeros(n)
    first = remarks.draw((chinese * n_aspects + aspect) * 3 + mood, zero)
    second = remarks.draw((chinese * n_aspects + other) * 3 + other_mood, zero)
    opening = openings.draw(group, rng.random(n))
    noun = labels(
        pl.Series([*catalogue.nouns, *catalogue.chinese], dtype=pl.String),
        product + chinese * catalogue.size,
    )
    space = labels((" ", ""), chinese)
    text = pl.DataFrame(
        {
            "opening": filled(opening, "{noun}", noun),
            "space": space,
            "first": first,
            "second": second,
            "one": rng.random(n) < 0.85,
            "two": two,
        }
    )
    body = text.select(
        pl.col("opening")
        + pl.when("one").then(pl.col("space") + pl.col("first")).otherwise(pl.lit(""))
        + pl.when(pl.col("one") & pl.col("two"))
        .then(pl.col("space") + pl.col("second"))
        .otherwise(pl.lit(""))
    ).to_series()
    signed = rng.random(n) < 0.92
    ids = numbered("v", offset + 1 + np.arange(n), 7)
    raw = pl.DataFrame(
        {
            "review_id": ids,
            "product_id": catalogue.ids().gather(product),
            "reviewed_at": moments(plan, at),
            "rating": rating,
            "customer_id": labels(people.ids, np.where(signed, person, -1)),
            "title": masked(titles.draw(group, rng.random(n)), rng.random(n) < 0.7),
            "body": body,
            "language": labels(LANGUAGES, np.where(rng.random(n) < 0.9, chinese, -1)),
            "ingested_at": ingested(plan, rng, at),
        }
    )
    one = text["one"].to_numpy()
    truth = pl.DataFrame(
        {
            "review_id": ids,
            "customer_id": people.ids.gather(person),
            "language": labels(LANGUAGES, chinese),
            "sentiment": labels(("negative", "mixed", "positive"), band),
            "aspect": labels(words.ASPECTS, np.where(one, aspect, -1)),
            "aspect_sentiment": labels(("negative", "mixed", "positive"), np.where(one, mood, -1)),
            "second_aspect": labels(words.ASPECTS, np.where(one & two, other, -1)),
            "second_aspect_sentiment": labels(
                ("negative", "mixed", "positive"), np.where(one & two, other_mood, -1)
            ),
        }
    )
    return raw, truth, (person[signed], product[signed], at[signed])


def knowledge_base(catalogue: Catalogue) -> tuple[pl.DataFrame, np.ndarray]:
    """The raw help articles, and the number of the article for each (topic, product)."""
    rows: list[tuple[str, str, str | None]] = []
    topics = list(words.TOPICS)
    answer = np.zeros((len(topics), catalogue.size), dtype=np.int64)
    product_ids = catalogue.ids().to_list()
    for k, topic in enumerate(topics):
        _, _, title, body = words.TOPICS[topic]
        if topic in words.PRODUCT_TOPICS:
            for p, name in enumerate(catalogue.names):
                answer[k, p] = len(rows)
                rows.append((title.format(name=name), body.format(name=name), product_ids[p]))
        else:
            answer[k] = len(rows)
            rows.append((title, body, None))
    frame = pl.DataFrame(
        {
            "article_id": numbered("k", 1 + np.arange(len(rows)), 5),
            "title": [row[0] for row in rows],
            "body": [row[1] for row in rows],
            "product_id": pl.Series([row[2] for row in rows], dtype=pl.String),
        }
    )
    return frame, answer


def question_frames(
    plan: Plan,
    chunk: int,
    catalogue: Catalogue,
    people: People,
    orders: Orders,
    answer: np.ndarray,
    offset: int,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The raw questions to support, and the truth: topic and the article that answers."""
    rng = plan.rng(chunk, 12)
    topics = list(words.TOPICS)
    order = np.flatnonzero(rng.random(orders.size) < plan.behaviour.question_share)
    at = orders.when[order] + HOUR + rng.exponential(5 * DAY, len(order)).astype(np.int64)
    order, at = order[at < plan.seconds], at[at < plan.seconds]
    n = len(order)
    first_line = (np.cumsum(orders.n_lines) - orders.n_lines)[order]
    product = orders.product[first_line]
    topic = rng.integers(0, len(topics), n)
    chinese = np.array([row[3] == "zh" for row in COUNTRIES])[orders.country[order]]
    chinese = (chinese & (rng.random(n) < 0.95)).astype(int)
    pool = Pool([words.TOPICS[name][k] for k in range(2) for name in topics])
    body = filled(
        pool.draw(chinese * len(topics) + topic, rng.random(n)),
        "{name}",
        labels(pl.Series([*catalogue.names], dtype=pl.String), product),
    )
    ids = numbered("q", offset + 1 + np.arange(n), 7)
    raw = pl.DataFrame(
        {
            "question_id": ids,
            "asked_at": moments(plan, at),
            "body": body,
            "customer_id": orders.who(people, order),
            "product_id": masked(catalogue.ids().gather(product), rng.random(n) < 0.8),
        }
    )
    truth = pl.DataFrame(
        {
            "question_id": ids,
            "topic": labels(topics, topic),
            "article_id": numbered("k", 1 + answer[topic, product], 5),
            "product_id": catalogue.ids().gather(product),
        }
    )
    return raw, truth
