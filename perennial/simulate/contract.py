"""The raw contract as the simulator knows it: tables, columns, types and rules.

The contract itself is `models/staging/_raw.yml`; a test holds this copy equal to it, so
that the command works where the package is installed without the dbt project.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

EVENT_TYPES = (
    "page_view",
    "product_view",
    "search",
    "add_to_cart",
    "remove_from_cart",
    "checkout",
    "purchase",
    "login",
    "signup",
    "review",
    "comment",
    "like",
    "share",
    "email_sent",
    "email_open",
    "email_click",
    "push_open",
)


STATUSES = ("placed", "paid", "shipped", "completed", "cancelled")
MEDIA = ("email", "push", "sms", "ads", "mail")


@dataclass(frozen=True)
class Column:
    """One column of the contract, with the rules under which a row is refused."""

    name: str
    type: str
    key: bool = False
    required: bool = False
    happened: bool = False
    lowest: float | None = None
    highest: float | None = None
    above: float | None = None
    accepted: tuple[str, ...] | None = None
    or_else: tuple[str, ...] = ()
    parent: str | None = None

    @property
    def dtype(self) -> pl.DataType:
        """The polars type in which the column is written where it is typed."""
        return DTYPES[self.type]


DTYPES = {
    "varchar": pl.String(),
    "json": pl.String(),
    "timestamp": pl.Datetime("us"),
    "date": pl.Date(),
    "decimal(18,2)": pl.Decimal(18, 2),
    "decimal(18,3)": pl.Decimal(18, 3),
    "decimal(18,4)": pl.Decimal(18, 4),
    "bigint": pl.Int64(),
    "integer": pl.Int32(),
    "double": pl.Float64(),
    "boolean": pl.Boolean(),
}

TABLES: dict[str, tuple[Column, ...]] = {
    "orders": (
        Column("order_id", "varchar", key=True, required=True),
        Column("customer_id", "varchar"),
        Column("ordered_at", "timestamp", required=True, happened=True),
        Column(
            "status",
            "varchar",
            required=True,
            accepted=STATUSES,
        ),
        Column("currency", "varchar"),
        Column("sales_channel", "varchar"),
        Column("coupon_code", "varchar"),
        Column("discount_amount", "decimal(18,2)", lowest=0),
        Column("shipping_amount", "decimal(18,2)", lowest=0),
        Column("tax_amount", "decimal(18,2)", lowest=0),
        Column("ingested_at", "timestamp"),
    ),
    "order_items": (
        Column("order_id", "varchar", key=True, required=True, parent="orders.order_id"),
        Column("line_number", "bigint", key=True, required=True),
        Column("product_id", "varchar", required=True),
        Column("quantity", "decimal(18,3)", required=True, above=0),
        Column("unit_price", "decimal(18,4)", required=True, lowest=0),
        Column("discount_amount", "decimal(18,2)", lowest=0),
        Column("ingested_at", "timestamp"),
    ),
    "refunds": (
        Column("refund_id", "varchar", key=True, required=True),
        Column("refunded_at", "timestamp", required=True, happened=True),
        Column("amount", "decimal(18,2)", required=True, lowest=0),
        Column("order_id", "varchar", or_else=("customer_id",), parent="orders.order_id"),
        Column("customer_id", "varchar"),
        Column("line_number", "bigint"),
        Column("product_id", "varchar"),
        Column("quantity", "decimal(18,3)", above=0),
        Column("reason", "varchar"),
        Column("ingested_at", "timestamp"),
    ),
    "customers": (
        Column("customer_id", "varchar", key=True, required=True),
        Column("created_at", "timestamp", happened=True),
        Column("country", "varchar"),
        Column("region", "varchar"),
        Column("birth_date", "date"),
        Column("gender", "varchar"),
        Column("acquisition_channel", "varchar"),
        Column("email_hash", "varchar"),
        Column("marketing_consent", "boolean"),
        Column("ingested_at", "timestamp"),
    ),
    "products": (
        Column("product_id", "varchar", key=True, required=True),
        Column("name", "varchar"),
        Column("category", "varchar"),
        Column("brand", "varchar"),
        Column("price", "decimal(18,2)", lowest=0),
        Column("unit_cost", "decimal(18,2)", lowest=0),
        Column("description", "varchar"),
        Column("ingested_at", "timestamp"),
    ),
    "events": (
        Column("event_id", "varchar", key=True, required=True),
        Column("occurred_at", "timestamp", required=True, happened=True),
        Column("event_type", "varchar", required=True, accepted=EVENT_TYPES),
        Column("customer_id", "varchar", or_else=("anonymous_id", "session_id")),
        Column("anonymous_id", "varchar"),
        Column("session_id", "varchar"),
        Column("product_id", "varchar"),
        Column("url", "varchar"),
        Column("referrer", "varchar"),
        Column("utm_source", "varchar"),
        Column("utm_medium", "varchar"),
        Column("utm_campaign", "varchar"),
        Column("device", "varchar"),
        Column("platform", "varchar"),
        Column("value", "decimal(18,2)"),
        Column("properties", "json"),
        Column("ingested_at", "timestamp"),
    ),
    "reviews": (
        Column("review_id", "varchar", key=True, required=True),
        Column("product_id", "varchar", required=True),
        Column("reviewed_at", "timestamp", required=True, happened=True),
        Column("rating", "integer", required=True, lowest=1, highest=5),
        Column("customer_id", "varchar"),
        Column("title", "varchar"),
        Column("body", "varchar"),
        Column("language", "varchar"),
        Column("ingested_at", "timestamp"),
    ),
    "coupons": (
        Column("coupon_code", "varchar", key=True, required=True),
        Column("kind", "varchar", required=True, accepted=("percent", "amount", "free_shipping")),
        Column("value", "decimal(18,2)", required=True, lowest=0),
        Column("min_spend", "decimal(18,2)", lowest=0),
        Column("audience", "varchar"),
        Column("starts_at", "timestamp"),
        Column("ends_at", "timestamp"),
        Column("budget", "decimal(18,2)", lowest=0),
    ),
    "coupon_grants": (
        Column("grant_id", "varchar", key=True, required=True),
        Column("coupon_code", "varchar", required=True, parent="coupons.coupon_code"),
        Column("customer_id", "varchar", required=True),
        Column("granted_at", "timestamp", required=True, happened=True),
        Column("campaign_id", "varchar"),
        Column("redeemed_order_id", "varchar"),
        Column("propensity", "double", lowest=0, highest=1),
    ),
    "campaigns": (
        Column("campaign_id", "varchar", key=True, required=True),
        Column("name", "varchar", required=True),
        Column("channel", "varchar", required=True, accepted=MEDIA),
        Column("starts_at", "timestamp", required=True),
        Column("ends_at", "timestamp", required=True),
        Column("cost", "decimal(18,2)", lowest=0),
    ),
    "campaign_touches": (
        Column("touch_id", "varchar", key=True, required=True),
        Column("campaign_id", "varchar", required=True, parent="campaigns.campaign_id"),
        Column("customer_id", "varchar", required=True),
        Column("sent_at", "timestamp", required=True, happened=True),
        Column("opened_at", "timestamp"),
        Column("clicked_at", "timestamp"),
        Column("is_holdout", "boolean"),
        Column("propensity", "double", lowest=0, highest=1),
    ),
    "experiments": (
        Column("experiment_id", "varchar", key=True, required=True),
        Column("name", "varchar", required=True),
        Column("metric", "varchar", required=True),
        Column("starts_at", "timestamp", required=True),
        Column("ends_at", "timestamp", required=True),
        Column("allocation", "double", required=True, lowest=0, highest=1),
    ),
    "experiment_assignments": (
        Column(
            "experiment_id", "varchar", key=True, required=True, parent="experiments.experiment_id"
        ),
        Column("customer_id", "varchar", key=True, required=True),
        Column("variant", "varchar", required=True),
        Column("assigned_at", "timestamp", required=True, happened=True),
    ),
    "ad_spend": (
        Column("spend_date", "date", key=True, required=True),
        Column("channel", "varchar", key=True, required=True),
        Column("cost", "decimal(18,2)", required=True, lowest=0),
        Column("impressions", "bigint", lowest=0),
        Column("clicks", "bigint", lowest=0),
        Column("currency", "varchar"),
    ),
    "exchange_rates": (
        Column("rate_date", "date", key=True, required=True),
        Column("currency", "varchar", key=True, required=True),
        Column("rate", "double", required=True, above=0),
    ),
    "support_questions": (
        Column("question_id", "varchar", key=True, required=True),
        Column("asked_at", "timestamp", required=True, happened=True),
        Column("body", "varchar", required=True),
        Column("customer_id", "varchar"),
        Column("product_id", "varchar"),
    ),
    "knowledge_base": (
        Column("article_id", "varchar", key=True, required=True),
        Column("title", "varchar", required=True),
        Column("body", "varchar", required=True),
        Column("product_id", "varchar"),
    ),
}
