"""What the models see of a customer, and how it is said in words."""

from __future__ import annotations

import numpy as np
import polars as pl

# Column of churn_features -> how a reason names it. {value} is the column's value.
FEATURES: dict[str, str] = {
    "recency_days": "last order {value:.0f} days ago",
    "tenure_days": "first order {value:.0f} days ago",
    "n_orders": "{value:.0f} orders in all",
    "n_orders_30d": "{value:.0f} orders in the last 30 days",
    "n_orders_90d": "{value:.0f} orders in the last 90 days",
    "n_orders_365d": "{value:.0f} orders in the last 365 days",
    "mean_gap_days": "usually {value:.0f} days between orders",
    "longest_gap_days": "never waited longer than {value:.0f} days",
    "lateness": "waiting {value:.1f} times as long as usual",
    "n_orders_ahead_a_year_ago": "{value:.0f} orders in this season a year ago",
    "net_amount": "{value:.0f} spent in all",
    "net_amount_90d": "{value:.0f} spent in the last 90 days",
    "net_amount_365d": "{value:.0f} spent in the last 365 days",
    "average_order_amount": "{value:.0f} per order",
    "net_amount_trend": "spending {value:+.0%} against the 90 days before",
    "discount_share": "{value:.0%} of the price saved by discounts",
    "coupon_share": "{value:.0%} of orders with a coupon",
    "refund_share": "{value:.0%} of the money given back",
    "n_categories": "{value:.0f} categories bought",
    "n_products": "{value:.0f} products bought",
    "n_sales_channels": "bought through {value:.0f} sales channels",
    "n_reviews": "{value:.0f} reviews written",
    "mean_rating": "{value:.1f} stars on average in reviews",
    "days_since_visit": "last visit {value:.0f} days ago",
    "n_visit_days_30d": "visits on {value:.0f} of the last 30 days",
    "n_visit_days_90d": "visits on {value:.0f} of the last 90 days",
    "views_per_visit_day": "{value:.1f} pages viewed on a day with a visit",
    "n_searches_since_order": "{value:.0f} searches since the last order",
    "n_cart_additions_since_order": "{value:.0f} items put into the cart since the last order",
    "n_cart_additions_90d": "{value:.0f} items put into the cart in the last 90 days",
    "mobile_share": "{value:.0%} of visits by phone",
    "email_open_share": "{value:.0%} of e-mails opened",
}

# Features that say the same thing in several ways. A reason stands for its whole theme.
THEMES: dict[str, list[str]] = {
    "recency": ["recency_days", "lateness", "mean_gap_days", "longest_gap_days"],
    "tenure": ["tenure_days"],
    "frequency": ["n_orders", "n_orders_30d", "n_orders_90d", "n_orders_365d"],
    "season": ["n_orders_ahead_a_year_ago"],
    "money": ["net_amount", "net_amount_90d", "net_amount_365d", "average_order_amount"],
    "trend": ["net_amount_trend"],
    "discounts": ["discount_share", "coupon_share"],
    "refunds": ["refund_share"],
    "breadth": ["n_categories", "n_products", "n_sales_channels"],
    "reviews": ["n_reviews", "mean_rating"],
    "visits": [
        "days_since_visit",
        "n_visit_days_30d",
        "n_visit_days_90d",
        "views_per_visit_day",
        "n_cart_additions_90d",
    ],
    "unmet": ["n_searches_since_order", "n_cart_additions_since_order"],
    "device": ["mobile_share"],
    "e-mail": ["email_open_share"],
}

# How a missing value is said.
MISSING: dict[str, str] = {
    "mean_gap_days": "only one order so far",
    "longest_gap_days": "only one order so far",
    "lateness": "only one order so far",
    "n_orders_ahead_a_year_ago": "no customer a year ago yet",
    "net_amount_trend": "nothing spent in the last 180 days",
    "mean_rating": "no review written",
    "days_since_visit": "no visit in the last year",
    "views_per_visit_day": "no visit in the last year",
    "mobile_share": "device unknown",
    "email_open_share": "no e-mail sent in the last year",
}


def feature_matrix(features: pl.DataFrame) -> np.ndarray:
    """Return the features as the models take them.

    Args:
        features: rows of `churn_features`, n of them.

    Returns:
        float64 array of shape (n, len(FEATURES)). Counts, days and amounts are on the scale
        sign(x) * ln(1 + |x|), which tames their long tails; missing and infinite values are
        NaN.
    """
    raw = features.select(pl.col(name).cast(pl.Float64) for name in FEATURES).to_numpy()
    matrix = np.sign(raw) * np.log1p(np.abs(raw))
    matrix[~np.isfinite(matrix)] = np.nan
    return matrix


def describe(feature: str, value: float | None) -> str:
    """Say a feature's value in words."""
    if value is None or not np.isfinite(value):
        return MISSING.get(feature, f"{feature} unknown")
    return FEATURES[feature].format(value=value)
