with judged as (
    select
        recommender,
        unnest(evaluation) as found
    from {{ ref('py_recommenders') }}
)

select
    cast(recommender as string) as recommender,
    cast(found.cut as string) as cut,
    cast(found.group_type as string) as group_type,
    cast(found.group_value as string) as group_value,
    cast(found.list_length as integer) as list_length,
    cast(found.measure as string) as measure,
    cast(found.n_customers as bigint) as n_customers,
    cast(found.value as double) as value,
    cast(found.value_low as double) as value_low,
    cast(found.value_high as double) as value_high,
    cast(found.gain as double) as gain_over_popular,
    cast(found.gain_low as double) as gain_over_popular_low,
    cast(found.gain_high as double) as gain_over_popular_high
from judged
