-- Who is active now is new, retained or resurrected; who was active before is retained or
-- churned; whoever ever came is active, churned or dormant; and segments add up to all.
with cells as (
    select
        *,
        coalesce(lag(n_active_customers_to_date) over earlier, 0) as n_before,
        sum(n_new_to_date) over earlier as n_ever
    from {{ ref('growth_accounting') }}
    window earlier as (
        partition by activity, grain, segment_type, segment
        order by period_start_on
    )
),

segments as (
    select
        activity,
        grain,
        segment_type,
        period_start_on,
        sum(n_active_customers_to_date) as n_active,
        sum(n_new_to_date) as n_new,
        sum(n_churned) as n_churned,
        sum(n_dormant) as n_dormant
    from cells
    group by all
)

select
    activity,
    grain,
    segment_type,
    period_start_on,
    'identity' as what
from cells
where
    n_active_customers_to_date
    <> n_new_to_date + n_retained_to_date + n_resurrected_to_date
    or n_retained_to_date > n_before
    or is_mature <> (n_churned is not null)
    or n_previously_active_customers <> n_before
    or n_active_customers <> n_new + n_retained + n_resurrected
    or n_before <> n_retained + n_churned
    or n_customers <> n_ever
    or n_ever <> n_active_customers + n_churned + n_dormant
    or n_dormant < 0

union all

select
    segments.activity,
    segments.grain,
    segments.segment_type,
    segments.period_start_on,
    'segments' as what
from segments
inner join segments as everyone
    on
        everyone.segment_type = 'all'
        and segments.activity = everyone.activity
        and segments.grain = everyone.grain
        and segments.period_start_on = everyone.period_start_on
where
    segments.n_active <> everyone.n_active
    or segments.n_new <> everyone.n_new
    or segments.n_churned <> everyone.n_churned
    or segments.n_dormant <> everyone.n_dormant
