-- 2024-03-03 is a Sunday. Weeks begin on the day that the setting week_start names; whichever
-- it is, a period's start is a fixed point and lies at most a week (a month) before the day.
{%- set weekdays = [
    'monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday', 'sunday'
] %}
with days as (
    select cast('2024-02-25' as date) + cast(n as integer) as day_on
    from ({{ perennial.numbers(0, 40) }}) as numbers
),

starts as (
    select
        day_on,
        {{ perennial.period_start('week', 'day_on') }} as week_start_on,
        {{ perennial.period_start('month', 'day_on') }} as month_start_on
    from days
)

select *
from starts
where
    cast(day_on - week_start_on as integer) not between 0 and 6
    -- 2024-01-01 was a Monday.
    or cast(week_start_on - date '2024-01-01' as integer) % 7 <> {{ weekdays.index(
        perennial.setting('week_start')
    ) }}
    or {{ perennial.periods_between(
        'week', 'week_start_on', perennial.add_periods('week', 'week_start_on', 3)
    ) }} <> 3
    or day(month_start_on) <> 1
    or month(month_start_on) <> month(day_on)
    or {{ perennial.periods_between(
        'month', 'month_start_on', perennial.add_periods('month', 'month_start_on', 13)
    ) }} <> 13
