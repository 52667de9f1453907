-- A lone row far in the future would make every customer look gone. It warns: a shop that was
-- closed for two months is possible.
{{ config(severity='warn') }}
with days as (
    select distinct ordered_on as day_on from {{ ref('orders') }}
    union
    select distinct occurred_on as day_on from {{ ref('events') }}
),

latest as (
    select
        day_on,
        cast(day_on - lag(day_on) over (order by day_on) as integer) as gap_days
    from days
    qualify row_number() over (order by day_on desc) = 1
)

select *
from latest
where gap_days > 60
