select
    cast(domain_type as string) as domain_type,
    cast(source as string) as source,
    cast(target as string) as target,
    cast(cut as string) as cut,
    cast(status as string) as status,
    cast(n_customers as bigint) as n_customers,
    cast(ndcg as double) as ndcg,
    cast(ndcg_low as double) as ndcg_low,
    cast(ndcg_high as double) as ndcg_high,
    cast(gain as double) as gain_over_popular,
    cast(gain_low as double) as gain_over_popular_low,
    cast(gain_high as double) as gain_over_popular_high,
    cast(gain_low > 0 as boolean) as is_better_than_popular
from {{ ref('py_domains') }}
