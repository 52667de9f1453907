select
    cast(clusters.customer_id as string) as customer_id,
    cast(clusters.cluster as string) as cluster,
    cast(clusters.distance as double) as distance
from {{ ref('py_customer_clusters') }} as clusters
