with steps as (
    select *
    from {{ ref('category_steps') }}
),

foretold as (
    {{ perennial.next_category('steps') }}
)

select
    cast(customer_id as string) as customer_id,
    cast(last_category as string) as last_category,
    cast(category as string) as next_category,
    cast(round(probability, 12) as double) as next_category_probability
from foretold
