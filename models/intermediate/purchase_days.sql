{%- set holdout_days = perennial.setting('churn_horizon_days') %}
-- Orders as they were known at the end of two days: today's, and one so long ago that what was
-- expected then can be held against what came.
with cuts as (
    select
        'today' as cut,
        as_of_on as cut_on
    from {{ ref('clock') }}

    union all

    select
        'holdout' as cut,
        {{ perennial.add_days('as_of_on', -holdout_days) }} as cut_on
    from {{ ref('clock') }}
),

moments as (
    select
        cut,
        cut_on,
        {{ perennial.start_of_day_utc(perennial.add_days('cut_on', 1)) }} as cut_at
    from cuts
)

-- What came in after the holdout's cut, of the time before it, was no history then, and is no
-- outcome. Today all is known that is there, also what came in after the last moment of the data.
-- Several orders of one day are one purchase, as in the papers that the models are from.
select
    cast(moments.cut as string) as cut,
    cast(moments.cut_on as date) as cut_on,
    cast(moments.cut_at as timestamp) as cut_at,
    cast(orders.customer_id as string) as customer_id,
    cast(orders.ordered_on as date) as ordered_on,
    cast(orders.ordered_on <= moments.cut_on as boolean) as is_history,
    cast({{ perennial.complete_sum('orders.net_amount') }} as decimal(18, 2))
        as net_amount
from {{ ref('orders') }} as orders
cross join moments
where
    orders.customer_id is not null
    and not orders.is_cancelled
    and (
        moments.cut = 'today'
        or orders.ordered_on > moments.cut_on
        or orders.known_at < moments.cut_at
    )
group by all
