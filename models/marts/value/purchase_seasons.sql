with models as (
    select
        season,
        max(cast(is_chosen and len(season) > 0 as integer)) over () = 1 as is_used
    from {{ ref('py_value_models') }}
    where cut = 'today'
),

-- All seasonal candidates go by the same season.
months as (
    select distinct
        is_used,
        unnest(season) as found
    from models
)

select
    cast(found.month_number as integer) as month_number,
    cast(found.season_index as double) as season_index,
    cast(found.season_index_low as double) as season_index_low,
    cast(found.season_index_high as double) as season_index_high,
    cast(found.n_purchases as bigint) as n_purchases,
    cast(is_used as boolean) as is_used
from months
