"""One run: the shop as a whole, then chunk after chunk of its customers, then the truth."""

from __future__ import annotations

import numpy as np
import polars as pl

from perennial.simulate import events, marketing, orders, people, voice
from perennial.simulate.catalogue import make_catalogue
from perennial.simulate.marketing import Campaign
from perennial.simulate.parameters import DAY, Plan
from perennial.simulate.write import Progress, Writer


def simulate(plan: Plan, writer: Writer) -> None:
    """Write every raw table of the shop that `plan` describes, and its truth.

    Memory holds one chunk of customers at a time; what a chunk writes depends on the plan
    and its own number alone, but ids count on from chunk to chunk.
    """
    edges = plan.season.operational(plan.start, plan.n_days)
    catalogue = make_catalogue(plan)
    shop = marketing.make_shop(plan)
    articles, answer = voice.knowledge_base(catalogue)
    writer.table("products", catalogue.frame)
    writer.table("knowledge_base", articles)
    writer.hidden("products", catalogue.truth)
    writer.hidden("pairs", catalogue.pairs)
    writer.hidden("rivals", catalogue.rivals)

    n = dict.fromkeys(
        ("orders", "events", "sessions", "touches", "grants", "refunds", "reviews", "questions"), 0
    )
    next_visitor = 3 * plan.n_customers + 1
    progress = Progress(plan.n_chunks, "simulating")
    for chunk in range(1, plan.n_chunks + 1):
        crowd = people.draw_people(plan, chunk, edges)
        person, when = orders.own_orders(plan, chunk, crowd, edges)
        person, when, cause, touches, assigned = marketing.run_campaigns(
            plan, chunk, shop, crowd, person, when
        )
        bought = orders.place_orders(
            plan, chunk, n["orders"], shop, catalogue, crowd, (person, when, cause), edges
        )
        grants, used = orders.redeem(plan, chunk, shop, bought, touches)
        frames = orders.order_frames(plan, chunk, shop, catalogue, crowd, bought)
        writer.table("orders", frames["orders"], chunk)
        writer.table("order_items", frames["order_items"], chunk)
        writer.hidden("orders", frames["truth"], chunk)
        refunds = orders.refund_frame(plan, chunk, catalogue, crowd, bought, n["refunds"])
        writer.table("refunds", refunds, chunk)
        granted = orders.grant_frame(plan, shop, crowd, bought, touches, grants, used, n["grants"])
        writer.table("coupon_grants", granted, chunk)
        raw, truth = marketing.touch_frames(plan, shop, crowd, touches, n["touches"])
        writer.table("campaign_touches", raw, chunk)
        writer.hidden("touches", truth, chunk)
        writer.table("experiment_assignments", assigned, chunk)

        raw, truth, signed = voice.review_frames(
            plan, chunk, catalogue, crowd, bought, n["reviews"]
        )
        writer.table("reviews", raw, chunk)
        writer.hidden("reviews", truth, chunk)
        n["reviews"] += raw.height
        raw, truth = voice.question_frames(
            plan, chunk, catalogue, crowd, bought, answer, n["questions"]
        )
        writer.table("support_questions", raw, chunk)
        writer.hidden("support_questions", truth, chunk)
        n["questions"] += raw.height

        visits, next_visitor = events.make_sessions(
            plan, chunk, crowd, bought, touches, edges, next_visitor
        )
        happened, created = events.event_frame(
            plan,
            chunk,
            shop,
            catalogue,
            crowd,
            bought,
            touches,
            visits,
            signed,
            n["events"],
            n["sessions"],
        )
        writer.table("events", happened, chunk)
        raw, truth, identities = people.customer_frames(plan, chunk, crowd, created)
        writer.table("customers", raw, chunk)
        writer.hidden("customers", truth, chunk)
        writer.hidden("identities", identities, chunk)

        np.add.at(shop.arrivals, (crowd.channel, crowd.born // DAY), 1)
        n["orders"] += bought.size
        n["refunds"] += refunds.height
        n["grants"] += granted.height
        n["touches"] += len(touches.person)
        n["events"] += happened.height
        n["sessions"] += visits.size
        progress.step(chunk, f"{n['orders']:,} orders, {n['events']:,} events")

    for name, frame in marketing.shop_frames(plan, shop).items():
        writer.table(name, frame)
    writer.hidden("campaigns", campaign_truth(plan, shop.campaigns))
    writer.document(
        "parameters",
        plan.as_truth()
        | {
            "campaign_propensity": " ".join((Campaign.__doc__ or "").split()),
            "experiments": [
                {"experiment_id": item.id, "extra_order_probability": item.effect}
                for item in shop.experiments
            ],
        },
    )
    dirt = (
        writer.dirt.truth()
        if writer.dirt
        else pl.DataFrame(schema={"table_name": pl.String, "reason": pl.String, "n_rows": pl.Int64})
    )
    writer.hidden("dirt", dirt)


def campaign_truth(plan: Plan, campaigns: list[Campaign]) -> pl.DataFrame:
    """The propensity formula and planted effect of each campaign."""
    behaviour = plan.behaviour
    return pl.DataFrame(
        {
            "campaign_id": [item.id for item in campaigns],
            "audience": [item.audience for item in campaigns],
            "propensity_base": [item.base for item in campaigns],
            "propensity_recent": [item.recent for item in campaigns],
            "propensity_loyal": [item.loyal for item in campaigns],
            "propensity_paid": [item.paid for item in campaigns],
            "extra_order_probability": [
                behaviour.persuaded_probability
                + (behaviour.persuaded_coupon_bonus if item.coupon >= 0 else 0.0)
                for item in campaigns
            ],
            "suppressed_probability": [behaviour.suppressed_probability] * len(campaigns),
        }
    )
