with days as (
    select *
    from {{ ref('feed_days') }}
    where measure = 'rows' and span_days = 1
),

-- The last day with rows, as it was known at the end of each day.
silences as (
    select
        table_name,
        day_on,
        n_part,
        cast(
            day_on - max(case when n_part > 0 then day_on end) over (
                partition by table_name
                order by day_on
                rows between unbounded preceding and current row
            ) as integer
        ) as silent_days
    from days
),

last_days as (
    select
        table_name,
        max(day_on) as judged_until_on,
        max(case when n_part > 0 then day_on end) as last_on,
        count_if(n_part > 0) as n_days_with_rows
    from days
    group by all
),

-- Its silence now is no part of what is usual.
usual as (
    select
        silences.table_name,
        count(*) as n_history_days,
        percentile_disc(0.99) within group (order by silences.silent_days)
            as usual_silent_days
    from silences
    inner join last_days
        on silences.table_name = last_days.table_name
    where silences.day_on <= last_days.last_on
    group by all
),

allowed as (
    select
        last_days.*,
        usual.n_history_days,
        usual.usual_silent_days,
        cast(last_days.judged_until_on - last_days.last_on as integer) as silent_days,
        greatest(1, ceil(1.5 * usual.usual_silent_days)) as allowed_silent_days
    from last_days
    inner join usual
        on last_days.table_name = usual.table_name
)

select
    cast(table_name as string) as table_name,
    cast(last_on as date) as last_on,
    cast(judged_until_on as date) as judged_until_on,
    cast(silent_days as integer) as silent_days,
    cast(usual_silent_days as integer) as usual_silent_days,
    cast(allowed_silent_days as integer) as allowed_silent_days,
    cast(n_history_days as integer) as n_history_days,
    cast(n_days_with_rows as integer) as n_days_with_rows,
    -- Four weeks, and more than a handful of days with rows, make a habit.
    cast(n_history_days >= 28 and n_days_with_rows >= 8 as boolean) as is_judged,
    cast(
        n_history_days >= 28
        and n_days_with_rows >= 8
        and silent_days > allowed_silent_days as boolean
    ) as is_stale
from allowed
