{%- set horizons = [30, 90, 365] -%}
with forecasts as (
    select
        customer_id,
        max(model_name) as model_name,
        max(expected_amount_per_purchase) as expected_amount_per_purchase,
        {%- for days in horizons %}
        {%- for column in [
            'expected_purchases', 'purchases_low', 'purchases_high',
            'expected_amount', 'amount_low', 'amount_high'
        ] %}
        max({{ column }}) filter (where horizon_days = {{ days }})
            as {{ column }}_{{ days }}d,
        {%- endfor %}
        {%- endfor %}
        max(median_wait_days) as median_wait_days
    from {{ ref('py_value_forecasts') }}
    where cut = 'today'
    group by customer_id
),

verdicts as (
    select
        case when count_if(status = 'fitted') = 0 then min(status) end as why_not,
        max(spend_status) as spend_status
    from {{ ref('py_value_models') }}
    where cut = 'today'
)

select
    cast(customers.customer_id as string) as customer_id,
    cast(customers.channel as string) as channel,
    cast(customers.first_ordered_on as date) as first_ordered_on,
    cast(customers.last_ordered_on as date) as last_ordered_on,
    cast(customers.n_orders as bigint) as n_orders,
    cast(customers.revenue_amount as decimal(18, 2)) as historical_amount,
    cast(
        case
            when forecasts.customer_id is null
                then coalesce(verdicts.why_not, 'abstained: no order is known')
            when forecasts.expected_amount_per_purchase is null
                then verdicts.spend_status
            else 'forecast'
        end
        as string
    ) as status,
    cast(forecasts.model_name as string) as model_name,
    cast(forecasts.expected_amount_per_purchase as decimal(18, 2))
        as expected_amount_per_purchase,
    {%- for days in horizons %}
    cast(forecasts.expected_purchases_{{ days }}d as double)
        as expected_purchases_{{ days }}d,
    cast(forecasts.purchases_low_{{ days }}d as bigint) as purchases_{{ days }}d_low,
    cast(forecasts.purchases_high_{{ days }}d as bigint) as purchases_{{ days }}d_high,
    cast(forecasts.expected_amount_{{ days }}d as decimal(18, 2))
        as expected_amount_{{ days }}d,
    cast(forecasts.amount_low_{{ days }}d as decimal(18, 2))
        as amount_{{ days }}d_low,
    cast(forecasts.amount_high_{{ days }}d as decimal(18, 2))
        as amount_{{ days }}d_high,
    {%- endfor %}
    -- A customer who is more than two years from the next order has none in sight.
    cast(
        case
            when forecasts.median_wait_days < 730
                then {{ perennial.add_days(
                    'clock.as_of_on',
                    'cast(ceil(forecasts.median_wait_days) as integer)'
                ) }}
        end
        as date
    ) as next_order_on
from {{ ref('customers') }} as customers
cross join {{ ref('clock') }} as clock
cross join verdicts
left join forecasts
    on customers.customer_id = forecasts.customer_id
where customers.n_orders > 0
