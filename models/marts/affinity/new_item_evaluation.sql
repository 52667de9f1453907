select
    cast(cut as string) as cut,
    cast(way as string) as way,
    cast(status as string) as status,
    cast(is_chosen as boolean) as is_chosen,
    cast(n_items as bigint) as n_items,
    cast(n_customers as bigint) as n_customers,
    cast(ndcg as double) as ndcg,
    cast(ndcg_low as double) as ndcg_low,
    cast(ndcg_high as double) as ndcg_high,
    cast(gain as double) as gain_over_popular,
    cast(gain_low as double) as gain_over_popular_low,
    cast(gain_high as double) as gain_over_popular_high
from {{ ref('py_new_item_ways') }}
