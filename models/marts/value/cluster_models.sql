select
    cast(method as string) as method,
    cast(n_clusters as integer) as n_clusters,
    cast(status as string) as status,
    cast(is_chosen as boolean) as is_chosen,
    cast(n_customers as bigint) as n_customers,
    cast(silhouette as double) as silhouette,
    cast(stability as double) as stability,
    cast(noise_share as double) as noise_share,
    cast(agreement as double) as agreement
from {{ ref('py_cluster_models') }}
