-- A customer who moved is where the latest invoice went.
select
    customer_id,
    max_by(country, (invoiced_at, country)) as country
from {{ ref('online_retail_lines') }}
where customer_id is not null
group by customer_id
