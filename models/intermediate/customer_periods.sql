{%- call perennial.touched() %}
    -- Which keys to do again.
    {{ perennial.changes('customers', 'customer_id') }}
    union
    {{ perennial.changes('orders', 'customer_id') }}
    union
    {{ perennial.changes('refunds', 'customer_id') }}
{%- endcall %}
-- Every grain reads the same facts, so that weeks and months cannot disagree.
with facts as (
    select
        customer_id,
        ordered_on as happened_on,
        1 as n_orders,
        net_amount as revenue_amount
    from {{ ref('orders') }}
    where
        customer_id is not null
        and not is_cancelled
        {{ perennial.touched_only('customer_id', 'and') }}

    union all

    -- A refund counts on the day that it happened, not on the day of its order.
    select
        customer_id,
        refunded_on as happened_on,
        0 as n_orders,
        -amount as revenue_amount
    from {{ ref('refunds') }}
    where
        customer_id is not null
        and not is_order_cancelled
        {{ perennial.touched_only('customer_id', 'and') }}
),

by_period as (
    {%- for grain in ['week', 'month'] %}
    select
        customer_id,
        '{{ grain }}' as grain,
        {{ perennial.period_start(grain, 'happened_on') }} as period_start_on,
        sum(n_orders) as n_orders,
        {{ perennial.complete_sum('revenue_amount') }} as revenue_amount
    from facts
    group by all
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

cohorts as (
    {%- for grain in ['week', 'month'] %}
    select
        customer_id,
        '{{ grain }}' as grain,
        {{ perennial.period_start(grain, 'first_ordered_on') }} as cohort_start_on,
        coalesce(country, 'unknown') as country,
        coalesce(channel, 'unknown') as channel,
        coalesce(first_category, 'unknown') as first_category
    from {{ ref('customers') }}
    where
        first_ordered_on is not null
        {{ perennial.touched_only('customer_id', 'and') }}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
)

select
    by_period.customer_id,
    by_period.grain,
    cohorts.cohort_start_on,
    cohorts.country,
    cohorts.channel,
    cohorts.first_category,
    by_period.period_start_on,
    cast(
        case by_period.grain
            when 'month'
                then {{ perennial.periods_between(
                    'month', 'cohorts.cohort_start_on', 'by_period.period_start_on'
                ) }}
            else {{ perennial.periods_between(
                'week', 'cohorts.cohort_start_on', 'by_period.period_start_on'
            ) }}
        end
        as bigint
    ) as period_number,
    cast(by_period.n_orders as bigint) as n_orders,
    cast(by_period.revenue_amount as decimal(18, 2)) as revenue_amount,
    by_period.n_orders > 0 as is_active
from by_period
-- Someone who never bought has no cohort; a refund alone makes none.
inner join cohorts
    on
        by_period.customer_id = cohorts.customer_id
        and by_period.grain = cohorts.grain
