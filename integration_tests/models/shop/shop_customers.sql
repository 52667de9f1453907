select
    client as customer_id,
    upper(land) as country
from (values ('ann', 'de'), ('bob', 'at'), ('cem', 'de'), ('dot', 'ch')) as clients (client, land)
