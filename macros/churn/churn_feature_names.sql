{#- What the churn models see of a customer: the columns of churn_features that are learned from. -#}
{% macro churn_feature_names() %}
    {% do return([
        'recency_days', 'tenure_days', 'n_orders', 'n_orders_30d', 'n_orders_90d', 'n_orders_365d',
        'mean_gap_days', 'longest_gap_days', 'lateness', 'n_orders_ahead_a_year_ago',
        'net_amount', 'net_amount_90d', 'net_amount_365d', 'average_order_amount',
        'net_amount_trend', 'discount_share', 'coupon_share', 'refund_share',
        'n_categories', 'n_products', 'n_sales_channels', 'n_reviews', 'mean_rating',
        'days_since_visit', 'n_visit_days_30d', 'n_visit_days_90d', 'views_per_visit_day',
        'n_searches_since_order', 'n_cart_additions_since_order', 'n_cart_additions_90d',
        'mobile_share', 'email_open_share',
    ]) %}
{% endmacro %}
