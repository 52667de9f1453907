with purchases as (
    select
        customer_id,
        max(purchase_probability) filter (where horizon_days = 7) as within_7d,
        max(purchase_probability) filter (where horizon_days = 30) as within_30d
    from {{ ref('purchase_predictions') }}
    group by customer_id
),

amounts as (
    select
        customer_id,
        expected_amount,
        amount_low,
        amount_high
    from {{ ref('py_value_forecasts') }}
    where
        cut = 'today'
        and horizon_days = 28
)

select
    cast(customers.customer_id as string) as customer_id,
    cast(clock.as_of as timestamp) as predicted_at,
    cast(purchases.within_7d as double) as purchase_probability_7d,
    cast(purchases.within_30d as double) as purchase_probability_30d,
    cast(amounts.expected_amount as decimal(18, 2)) as expected_amount_28d,
    cast(amounts.amount_low as decimal(18, 2)) as amount_28d_low,
    cast(amounts.amount_high as decimal(18, 2)) as amount_28d_high,
    cast(categories.last_category as string) as last_category,
    cast(categories.next_category as string) as next_category,
    cast(categories.next_category_probability as double) as next_category_probability
from {{ ref('customers') }} as customers
cross join {{ ref('clock') }} as clock
left join purchases
    on customers.customer_id = purchases.customer_id
left join amounts
    on customers.customer_id = amounts.customer_id
left join {{ ref('next_categories') }} as categories
    on customers.customer_id = categories.customer_id
where customers.n_orders > 0
