-- What decides is the validation; the test, which comes after it, says how good the choice is.
with judged as (
    select
        recommender,
        status,
        is_chosen,
        hybrid_weight,
        unnest(evaluation) as found
    from {{ ref('py_recommenders') }}
),

measured as (
    select
        recommender,
        max(found.value) filter (where found.cut = 'validation') as validation_ndcg,
        max(found.n_customers) filter (where found.cut = 'test') as n_customers,
        max(found.value) filter (where found.cut = 'test') as ndcg,
        max(found.value_low) filter (where found.cut = 'test') as ndcg_low,
        max(found.value_high) filter (where found.cut = 'test') as ndcg_high,
        max(found.gain) filter (where found.cut = 'test') as gain,
        max(found.gain_low) filter (where found.cut = 'test') as gain_low,
        max(found.gain_high) filter (where found.cut = 'test') as gain_high
    from judged
    where
        found.measure = 'ndcg'
        and found.list_length = 10
        and found.group_type = 'all'
    group by recommender
)

select
    cast(recommenders.recommender as string) as recommender,
    cast(recommenders.status as string) as status,
    cast(recommenders.is_chosen as boolean) as is_chosen,
    cast(recommenders.hybrid_weight as double) as hybrid_weight,
    cast(measured.validation_ndcg as double) as validation_ndcg,
    cast(measured.n_customers as bigint) as n_customers,
    cast(measured.ndcg as double) as ndcg,
    cast(measured.ndcg_low as double) as ndcg_low,
    cast(measured.ndcg_high as double) as ndcg_high,
    cast(measured.gain as double) as gain_over_popular,
    cast(measured.gain_low as double) as gain_over_popular_low,
    cast(measured.gain_high as double) as gain_over_popular_high,
    cast(measured.gain_low > 0 as boolean) as is_better_than_popular
from {{ ref('py_recommenders') }} as recommenders
left join measured
    on recommenders.recommender = measured.recommender
