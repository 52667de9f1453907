{%- set judged_days = perennial.setting('monitor_days') %}
with counts as (
    select *
    from {{ ref('feed_counts') }}
),

clock as (
    select *
    from {{ ref('clock') }}
),

-- What is always 0 needs no watching: a column that was never filled, a feed without dirt.
measures as (
    select
        table_name,
        measure
    from counts
    group by all
    having sum(n_part) > 0
),

-- From the first day with a good row: a refused row may bear any date. The day that as_of
-- lies in is not over yet.
spans as (
    select
        counts.table_name,
        clock.as_of_on,
        min(counts.day_on) as first_on
    from counts
    cross join clock
    where
        counts.measure = 'refused'
        and counts.n_part < counts.n_whole
        and counts.day_on < clock.as_of_on
    group by all
),

calendar as (
    select
        spans.table_name,
        spans.first_on,
        spans.as_of_on,
        {{ perennial.add_days('spans.first_on', 'numbers.n') }} as day_on
    from spans
    cross join (
        {{ perennial.numbers(
            0, '(select max(cast(as_of_on - first_on as integer)) from spans)'
        ) }}
    ) as numbers
    where numbers.n < cast(spans.as_of_on - spans.first_on as integer)
),

-- A day without rows has none: it is no gap.
daily as (
    select
        calendar.table_name,
        calendar.first_on,
        measures.measure,
        calendar.day_on,
        coalesce(counts.n_part, 0) as n_part,
        coalesce(counts.n_whole, 0) as n_whole
    from calendar
    inner join measures
        on calendar.table_name = measures.table_name
    left join counts
        on
            measures.table_name = counts.table_name
            and measures.measure = counts.measure
            and calendar.day_on = counts.day_on
    where
        measures.measure not like 'filled %'
        -- Columns are many: of them only the days are kept that may still raise an alert,
        -- and those that these are held against.
        or calendar.day_on
        >= {{ perennial.add_days('calendar.as_of_on', -(judged_days + 63)) }}
),

-- In a small shop a day says little and a week says more.
weekly as (
    select
        table_name,
        first_on,
        measure,
        day_on,
        sum(n_part) over last_week as n_part,
        sum(n_whole) over last_week as n_whole,
        count(*) over last_week as n_days
    from daily
    where measure not in ('refused', 'duplicates')
    window last_week as (
        partition by table_name, measure
        order by day_on
        rows between 6 preceding and current row
    )
),

measured as (
    select
        table_name,
        measure,
        1 as span_days,
        day_on,
        n_part,
        n_whole
    from daily
    union all
    select
        table_name,
        measure,
        7 as span_days,
        day_on,
        n_part,
        n_whole
    from weekly
    where n_days = 7
)

select
    table_name,
    measure,
    span_days,
    day_on,
    cast(n_part as bigint) as n_part,
    cast(n_whole as bigint) as n_whole
from measured
