select
    cast(product_id as varchar) as product_id,
    product_type as name,
    coalesce(department, 'unknown') as category,
    brand,
    package_size as description
from {{ perennial.example_file('products.parquet') }}
