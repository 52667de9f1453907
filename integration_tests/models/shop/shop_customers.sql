with clients as (
    select * from {{ source('till', 'clients') }}
)

select
    client as customer_id,
    upper(land) as country
from clients
