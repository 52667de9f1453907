-- One code has several descriptions: the one on most lines is its name.
with counted as (
    select
        product_id,
        description,
        count(*) as n_lines
    from {{ ref('online_retail_lines') }}
    group by all
)

select
    product_id,
    max_by(description, (n_lines, description)) as name,
    -- The file has no categories; what is no product is told apart by its code.
    case when regexp_matches(product_id, '^[0-9]{5}') then 'goods' else 'not a product' end as category
from counted
group by product_id
