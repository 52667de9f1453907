-- A local day begins at one UTC moment and is the local day of that moment, also where clocks
-- change: the day of the change has 23 or 25 hours, never 24 cut at the wrong place.
with days as (
    select cast('2024-01-01' as date) + cast(n as integer) as day_on
    from ({{ perennial.numbers(0, 365) }}) as numbers
)

select *
from days
where
    {{ perennial.local_date(perennial.start_of_day_utc('day_on')) }} <> day_on
    or {{ perennial.local_date(
        perennial.start_of_day_utc('day_on') ~ " - interval '1' second"
    ) }}
    <> day_on - 1
