-- Nobody gets further than the step before; segments of a type hold everybody once; what has
-- matured shows its rate and nothing else does; shares of paths are 1 together.
with segments as (
    select
        funnel,
        grain,
        period_start_on,
        step,
        segment_type,
        sum(n_entered_to_date) as n_entered,
        sum(n_reached_to_date) as n_reached
    from {{ ref('funnels') }}
    group by all
),

uneven as (
    select
        funnel,
        grain,
        period_start_on,
        step
    from segments
    group by all
    having
        min(n_entered) <> max(n_entered)
        or min(n_reached) <> max(n_reached)
),

impossible as (
    select
        funnel,
        grain,
        period_start_on,
        step
    from {{ ref('funnels') }}
    where
        n_dropped < 0
        or (step = 1 and n_reached_to_date <> n_entered_to_date)
        or is_mature <> (reached_rate is not null)
        -- Equal hours may differ in the last digit.
        or median_hours_from_entry > p90_hours_from_entry + 1e-9
)

select * from uneven
union all
select * from impossible
union all
select
    path_end as funnel,
    cast(n_steps as string) as grain,
    null as period_start_on,
    null as step
from {{ ref('paths') }}
group by path_end, n_steps
having
    sum(n_paths) <> min(n_all_paths)
    or abs(sum(path_share) - 1) > 1e-9
    or count(*) > 51
