{{ config(enabled=target.type != 'spark') }}
-- The labels of the newest snapshot in the training must be known when the test begins.
select
    model_name,
    trained_until_on,
    tested_on
from {{ ref('churn_model_evaluation') }}
where tested_on - trained_until_on < horizon_days
