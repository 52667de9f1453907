{#- What the churn models see of a customer: the columns of churn_features that are learned from. -#}
{% macro churn_feature_names() %}
    {% do return([
        'recency_days', 'tenure_days', 'n_orders', 'n_orders_30d', 'n_orders_90d', 'n_orders_365d',
        'mean_gap_days', 'lateness', 'net_amount', 'net_amount_90d', 'net_amount_365d',
        'average_order_amount', 'discount_share', 'refund_share', 'n_categories', 'n_products',
        'days_since_visit', 'n_visit_days_30d', 'n_visit_days_90d', 'n_cart_additions_90d',
    ]) %}
{% endmacro %}
