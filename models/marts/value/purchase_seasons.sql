-- All seasonal candidates go by the same season.
with months as (
    select distinct unnest(season) as found
    from {{ ref('py_value_models') }}
    where cut = 'today'
),

chosen as (
    select count_if(is_chosen and len(season) > 0) > 0 as is_used
    from {{ ref('py_value_models') }}
    where cut = 'today'
)

select
    cast(months.found.month_number as integer) as month_number,
    cast(months.found.season_index as double) as season_index,
    cast(months.found.season_index_low as double) as season_index_low,
    cast(months.found.season_index_high as double) as season_index_high,
    cast(months.found.n_purchases as bigint) as n_purchases,
    cast(chosen.is_used as boolean) as is_used
from months
cross join chosen
