{%- set rolling = perennial.stickiness_days() -%}
with days as (
    select
        activity,
        customer_id,
        cast(occurred_on - date '1970-01-01' as integer) as day_number
    from {{ ref('activity_days') }}
    where activity in ('order', 'visit')
    group by all
),

-- At least k of n days: a customer comes to that on the day that is the k-th of the n days
-- which end with it, and ceases n days after the one that is the k-th of those which begin
-- with it. Where both fall on one day, they cancel out.
ranks as (
    select
        {%- for n in rolling %}
        count(*) over (
            partition by activity, customer_id
            order by day_number nulls last
            range between {{ n - 1 }} preceding and current row
        ) as n_until_{{ n }},
        count(*) over (
            partition by activity, customer_id
            order by day_number nulls last
            range between current row and {{ n - 1 }} following
        ) as n_from_{{ n }},
        {%- endfor %}
        activity,
        day_number
    from days
),

changes as (
    {%- for n in rolling %}
    select
        activity,
        {{ n }} as n_window_days,
        day_number,
        n_until_{{ n }} as n_days,
        count(*) as n_customers
    from ranks
    group by all

    union all

    select
        activity,
        {{ n }} as n_window_days,
        day_number + {{ n }} as day_number,
        n_from_{{ n }} as n_days,
        -count(*) as n_customers
    from ranks
    group by all
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

net_changes as (
    select
        activity,
        n_window_days,
        {{ perennial.add_days("date '1970-01-01'", 'day_number') }} as day_on,
        n_days,
        sum(n_customers) as n_customers
    from changes
    group by all
),

calendar_days as (
    select
        days.activity,
        days.customer_id,
        calendar.grain,
        calendar.period_start_on,
        count(*) as n_days
    from days
    inner join {{ ref('calendar') }} as calendar
        on
            {{ perennial.add_days("date '1970-01-01'", 'days.day_number') }}
            = calendar.day_on
    where calendar.grain <> 'day'
    group by all
),

calendar_counts as (
    select
        activity,
        grain,
        period_start_on,
        n_days,
        count(*) as n_customers
    from calendar_days
    group by all
),

first_days as (
    select
        activity,
        {{ perennial.add_days("date '1970-01-01'", 'min(day_number)') }} as first_on
    from days
    group by activity
),

windows as (
    {%- for n in rolling %}
    select
        firsts.activity,
        firsts.first_on,
        'rolling_{{ n }}_days' as window_kind,
        {{ perennial.add_days('calendar.day_on', 1 - n) }} as window_start_on,
        calendar.day_on as window_last_on,
        {{ n }} as n_window_days
    from first_days as firsts
    inner join {{ ref('calendar') }} as calendar
        on
            calendar.grain = 'day'
            and firsts.first_on <= calendar.day_on

    union all
    {%- endfor %}

    select
        firsts.activity,
        firsts.first_on,
        'calendar_' || periods.grain as window_kind,
        periods.period_start_on as window_start_on,
        periods.period_last_on as window_last_on,
        cast(periods.period_last_on - periods.period_start_on as integer) + 1
            as n_window_days
    from first_days as firsts
    inner join (
        select
            grain,
            period_start_on,
            case grain
                when 'week' then {{ perennial.add_days('period_start_on', 6) }}
                else {{ perennial.add_days(
                    perennial.add_months('period_start_on', 1), -1
                ) }}
            end as period_last_on
        from {{ ref('calendar') }}
        where grain <> 'day'
        group by all
    ) as periods
        on firsts.first_on <= periods.period_last_on
),

numbers as (
    {{ perennial.numbers(1, 31) }}
),

-- Every number of days that the window has, whether or not anybody was active on so many.
cells as (
    select
        windows.*,
        numbers.n as n_days,
        -- All of the window lies between the activity's first day and as_of.
        windows.window_start_on >= windows.first_on
        and {{ perennial.start_of_day_utc(
            perennial.add_days('windows.window_last_on', 1)
        ) }}
        <= clock.as_of as is_mature
    from windows
    cross join {{ ref('clock') }} as clock
    inner join numbers
        on windows.n_window_days >= numbers.n
),

counted as (
    select
        cells.*,
        sum(coalesce(changes.n_customers, 0)) over (
            partition by cells.activity, cells.window_kind, cells.n_days
            order by cells.window_last_on nulls last
            rows between unbounded preceding and current row
        ) as n_at_least
    from cells
    left join net_changes as changes
        on
            cells.activity = changes.activity
            and cells.n_window_days = changes.n_window_days
            and cells.window_last_on = changes.day_on
            and cells.n_days = changes.n_days
    where cells.window_kind like 'rolling%'

    union all

    select
        cells.*,
        sum(coalesce(counts.n_customers, 0)) over (
            partition by cells.activity, cells.window_kind, cells.window_last_on
            order by cells.n_days desc
            rows between unbounded preceding and current row
        ) as n_at_least
    from cells
    left join calendar_counts as counts
        on
            cells.activity = counts.activity
            and cells.window_kind = 'calendar_' || counts.grain
            and cells.window_start_on = counts.period_start_on
            and cells.n_days = counts.n_days
    where cells.window_kind like 'calendar%'
),

figures as (
    select
        activity,
        window_kind,
        window_start_on,
        window_last_on,
        n_window_days,
        n_days,
        is_mature,
        n_at_least,
        n_at_least - coalesce(lead(n_at_least) over (
            partition by activity, window_kind, window_last_on
            order by n_days nulls last
        ), 0) as n_exactly,
        max(n_at_least) over (
            partition by activity, window_kind, window_last_on
        ) as n_active_customers
    from counted
    where is_mature

    union all

    select
        activity,
        window_kind,
        window_start_on,
        window_last_on,
        n_window_days,
        n_days,
        is_mature,
        null as n_at_least,
        null as n_exactly,
        null as n_active_customers
    from counted
    where not is_mature
)

select
    cast(activity as string) as activity,
    cast(window_kind as string) as window_kind,
    cast(window_start_on as date) as window_start_on,
    cast(window_last_on as date) as window_last_on,
    cast(n_window_days as integer) as n_window_days,
    cast(n_days as integer) as n_days,
    {%- for kind in ['exactly', 'at_least'] %}
    cast(n_{{ kind }} as bigint) as n_{{ kind }},
    cast(
        cast(n_{{ kind }} as double) / nullif(cast(n_active_customers as double), 0)
        as double
    ) as {{ kind }}_rate,
    {%- for side in ['low', 'high'] %}
    cast({{ perennial.wilson(side, 'n_' ~ kind, 'n_active_customers') }} as double)
        as {{ kind }}_rate_{{ side }},
    {%- endfor %}
    {%- endfor %}
    cast(n_active_customers as bigint) as n_active_customers,
    cast(is_mature as boolean) as is_mature
from figures
