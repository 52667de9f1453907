with curves as (
    select * from {{ ref('survival_curves') }}
),

figures as (
    select
        curve,
        segment_type,
        segment,
        sum(n_events + n_censored) as n_customers,
        sum(n_events) as n_events,
        max(n_days) as n_days_watched,
        {%- for days in [30, 90, 365] %}
        case
            when
                max(n_days) >= {{ days }}
                then 1 - coalesce(min(survival) filter (where n_days <= {{ days }}), 1)
        end as share_within_{{ days }}_days,
        {%- endfor %}
        -- Half of them exactly is a little more in a float that was summed of logarithms.
        min(n_days) filter (where survival <= 0.5 + 1e-9) as median_days,
        min(n_days) filter (where survival_low <= 0.5 + 1e-9) as median_days_low,
        min(n_days) filter (where survival_high <= 0.5 + 1e-9) as median_days_high
    from curves
    group by all
),

-- The log-rank test of a segment against all others of its type: on every day on which
-- something happened to anybody, how many of the segment it would have been by chance
-- (N. Mantel, "Evaluation of survival data and two new rank order statistics", 1966).
event_days as (
    select distinct
        curve,
        segment_type,
        n_days
    from curves
    where segment_type <> 'all'
),

grid as (
    select
        event_days.curve,
        event_days.segment_type,
        event_days.n_days,
        figures.segment,
        coalesce(curves.n_events, 0) as n_events,
        sum(coalesce(curves.n_events + curves.n_censored, 0)) over (
            partition by event_days.curve, event_days.segment_type, figures.segment
            order by event_days.n_days desc nulls last
        ) as n_at_risk
    from event_days
    inner join figures
        on
            event_days.curve = figures.curve
            and event_days.segment_type = figures.segment_type
    left join curves
        on
            event_days.curve = curves.curve
            and event_days.segment_type = curves.segment_type
            and event_days.n_days = curves.n_days
            and figures.segment = curves.segment
),

totals as (
    select
        *,
        cast(sum(n_events) over days as double) as all_events,
        cast(sum(n_at_risk) over days as double) as all_at_risk
    from grid
    window days as (partition by curve, segment_type, n_days)
),

log_ranks as (
    select
        curve,
        segment_type,
        segment,
        sum(n_events) as n_observed,
        cast(
            sum({{ perennial.exact('all_events * n_at_risk / all_at_risk') }}) as double
        ) as n_expected,
        cast(sum({{ perennial.exact(
            'case when all_at_risk > 1 then all_events * n_at_risk / all_at_risk'
            ~ ' * (1 - n_at_risk / all_at_risk)'
            ~ ' * (all_at_risk - all_events) / (all_at_risk - 1) end'
        ) }}) as double) as variance
    from totals
    where all_events > 0
    group by all
),

tests as (
    select
        *,
        case
            when variance > 0
                then (n_observed - n_expected) * (n_observed - n_expected) / variance
        end as log_rank
    from log_ranks
)

select
    cast(figures.curve as string) as curve,
    cast(figures.segment_type as string) as segment_type,
    cast(figures.segment as string) as segment,
    cast(figures.n_customers as bigint) as n_customers,
    cast(figures.n_events as bigint) as n_events,
    cast(figures.n_days_watched as integer) as n_days_watched,
    cast(figures.median_days as integer) as median_days,
    cast(figures.median_days_low as integer) as median_days_low,
    cast(figures.median_days_high as integer) as median_days_high,
    {%- for days in [30, 90, 365] %}
    cast(figures.share_within_{{ days }}_days as double)
        as share_within_{{ days }}_days,
    {%- endfor %}
    cast(
        case when figures.segment_type <> 'all' then coalesce(tests.n_expected, 0) end
        as double
    ) as n_expected_events,
    cast(tests.log_rank as double) as log_rank,
    cast(2 * {{ perennial.normal_tail('sqrt(tests.log_rank)') }} as double) as p_value
from figures
left join tests
    on
        figures.curve = tests.curve
        and figures.segment_type = tests.segment_type
        and figures.segment = tests.segment
