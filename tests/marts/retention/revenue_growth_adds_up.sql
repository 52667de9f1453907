-- What a period's revenue owes to whom adds up to it, to the cent; and with that of guests
-- it is the shop's orders less its refunds, in every period.
with cells as (
    select
        *,
        coalesce(lag(revenue_amount_to_date) over (
            partition by grain, segment_type, segment
            order by period_start_on
        ), 0) as amount_before
    from {{ ref('revenue_growth') }}
),

facts as (
    select
        ordered_on as happened_on,
        net_amount as amount
    from {{ ref('orders') }}
    where not is_cancelled

    union all

    select
        refunded_on as happened_on,
        -amount as amount
    from {{ ref('refunds') }}
    where not is_order_cancelled
),

periods as (
    {%- for grain in ['week', 'month'] %}
    select
        '{{ grain }}' as grain,
        {{ perennial.period_start(grain, 'happened_on') }} as period_start_on,
        {{ perennial.complete_sum('amount') }} as amount
    from facts
    group by all
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

sums as (
    select
        grain,
        period_start_on,
        revenue_amount_to_date + guest_revenue_amount_to_date as amount
    from cells
    where segment_type = 'all'
)

select
    grain,
    segment_type,
    segment,
    period_start_on
from cells
where
    revenue_amount <> previous_revenue_amount + new_amount + resurrected_amount
    + expansion_amount - contraction_amount - churned_amount
    + refund_only_amount - previous_refund_only_amount
    or previous_revenue_amount <> amount_before
    or revenue_amount <> revenue_amount_to_date
    or total_revenue_amount <> revenue_amount + guest_revenue_amount
    or expansion_amount < 0
    or contraction_amount < 0

union all

select
    coalesce(sums.grain, periods.grain) as grain,
    'all' as segment_type,
    'all' as segment,
    coalesce(sums.period_start_on, periods.period_start_on) as period_start_on
from sums
full outer join periods
    on
        sums.grain = periods.grain
        and sums.period_start_on = periods.period_start_on
where
    -- A period without a row here has no orders and no refunds.
    case when periods.grain is null then 0 else periods.amount end <> sums.amount
    or (sums.amount is null) <> (periods.grain is not null and periods.amount is null)
