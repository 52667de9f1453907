{%- set horizon = perennial.setting('churn_horizon_days') %}
-- Recommenders are judged at two days, one and two horizons ago, by what came in the horizon after.
-- An order that came in late was not known then, and is nothing that they could have foretold.
with cuts as (
    select
        as_of_on,
        {{ perennial.add_days('as_of_on', -2 * horizon) }} as validation_on,
        {{ perennial.add_days('as_of_on', -horizon) }} as test_on
    from {{ ref('clock') }}
),

bought as (
    select
        items.customer_id,
        items.product_id,
        cast(cuts.as_of_on - items.ordered_on as integer) as days_ago,
        case
            when
                items.ordered_on <= cuts.validation_on
                and orders.known_at < {{ perennial.start_of_day_utc(
                    perennial.add_days('cuts.validation_on', 1)
                ) }}
                then 1
            when
                items.ordered_on <= cuts.test_on
                and orders.known_at < {{ perennial.start_of_day_utc(
                    perennial.add_days('cuts.test_on', 1)
                ) }}
                then 2
            else 3
        end as known_at_cut
    from {{ ref('order_items') }} as items
    inner join {{ ref('orders') }} as orders
        on items.order_id = orders.order_id
    cross join cuts
    where
        items.customer_id is not null
        and not items.is_cancelled
        and items.ordered_on <= cuts.as_of_on
)

select
    cast(customer_id as string) as customer_id,
    cast(product_id as string) as product_id,
    cast(days_ago as integer) as days_ago,
    cast(
        case min(known_at_cut)
            when 1 then 'validation'
            when 2 then 'test'
            else 'today'
        end as string
    ) as known_from,
    cast({{ horizon }} as integer) as horizon_days
from bought
group by customer_id, product_id, days_ago
