with members as (
    select
        clusters.cluster,
        rfm.recency_days,
        rfm.frequency,
        rfm.monetary_amount
    from {{ ref('customer_clusters') }} as clusters
    inner join {{ ref('rfm') }} as rfm
        on clusters.customer_id = rfm.customer_id
),

totals as (
    select
        cluster,
        count(*) as n_customers,
        sum(monetary_amount) as revenue_amount,
        median(recency_days) as median_recency_days,
        median(frequency) as median_frequency,
        median(cast(monetary_amount as double)) as median_monetary_amount
    from members
    group by cluster
)

select
    cast(cluster as string) as cluster,
    cast(n_customers as bigint) as n_customers,
    cast(n_customers / cast(sum(n_customers) over () as double) as double)
        as customer_share,
    cast(revenue_amount as decimal(18, 2)) as revenue_amount,
    cast(
        cast(revenue_amount as double)
        / nullif(cast(sum(revenue_amount) over () as double), 0) as double
    ) as revenue_share,
    cast(median_recency_days as double) as median_recency_days,
    cast(median_frequency as double) as median_frequency,
    cast(median_monetary_amount as double) as median_monetary_amount
from totals
